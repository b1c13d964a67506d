<?php
namespace FreePBX\modules\Fallback;

require getenv('SDK') . '/dedup/autoload.php';

class Backup extends \Dedup\BackupBase
{
}

class Restore extends \Dedup\RestoreBase
{
}

\Dedup\Module::freepbx([
    'name' => 'Fallback', 'version' => '1', 'backup' => Backup::class, 'restore' => Restore::class, 'bootstrap' => __DIR__ . '/host.php',
    'fallback' => getenv('FALLBACK') === 'yes',
]);
