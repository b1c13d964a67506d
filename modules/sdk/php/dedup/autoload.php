<?php
/**
 * Loads the SDK: `require __DIR__ . '/dedup/autoload.php';`. PHP 7.4 and later, nothing beyond the language.
 *
 *     Module.php        main(): speaks the protocol for a module
 *     Wire.php          both pipes: frames, streams, credit
 *     Values.php        values as they are written
 *     Errors.php        Fail, Skip, and what ends an operation
 *     Export.php        what an export can send
 *     Import.php        what an import can get
 *     Space.php         copies of what is about to be changed
 *     Base.php          modules made of classes of FreePBX's kind
 *     BackupBase.php    exporters written for FreePBX derive from it
 *     RestoreBase.php   importers written for FreePBX derive from it
 *     Legacy.php        their import of archives of the generation before
 *     Platform.php      tables, settings, feature codes, key-value store of the host
 *     Database.php      tables of its database
 *     Dumped.php        dumps that are read when they are needed
 */
spl_autoload_register(static function ($class) {
    if (strncmp($class, 'Dedup\\', 6) === 0) {
        $of = ['Stop' => 'Errors', 'Cancelled' => 'Errors', 'Refused' => 'Errors', 'Fail' => 'Errors', 'Skip' => 'Errors',
            'Bytes' => 'Values', 'Decimal' => 'Values', 'StoredFile' => 'Import', 'Sending' => 'Export', 'Rows' => 'Export',
            'Common' => 'Export', 'Surface' => 'Base', 'Engine' => 'Base', 'LazyRows' => 'Dumped', 'TableRows' => 'Dumped',
            'KvDump' => 'Dumped', 'StoredRows' => 'Dumped', 'StoredTree' => 'Dumped'];
        $name = substr($class, 6);
        $path = __DIR__ . '/' . ($of[$name] ?? $name) . '.php';
        if (is_file($path)) {
            require_once $path;
        }
    }
});
