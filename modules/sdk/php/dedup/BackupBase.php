<?php
namespace Dedup;

/**
 * What exporters written for FreePBX derive from: `class Backup extends \Dedup\BackupBase`. What they add is sent when runBackup
 * has returned; tables and key-value stores go as streams, row by row.
 */
abstract class BackupBase extends Surface
{
    /** Configuration that is longer than this travels as a stream, in bytes. */
    const LONG = 262144;
    /** Key by which a value says that it is one. */
    const STREAM = '$dedup-stream';

    private $configs = [];
    private $streams = [];

    public function dedupExport(): void
    {
        $run = $this->dedupWith->hello['run'];
        $this->runBackup($run, $run);
        foreach ($this->configs as $key => $value) {
            $key = (string) $key;
            $section = in_array($key, $this->dedupBase->options['secrets'], true) ? 'secrets' : null;
            $value = $this->extract($value, $key, $section);
            if (is_array($value) && strlen(json_encode(Values::encode($value), Values::JSON)) > self::LONG) {
                $name = $this->name("config:$key");
                $stream = $this->dedupWith->blob($name, $section ?? 'config', 'json');
                $stream->write(json_encode(Values::encode($value), Values::JSON));
                $stream->close();
                $value = [self::STREAM => ['json', $name]];
            }
            $this->dedupWith->config($key, $value, $section);
        }
    }

    /** Sends dumps that stand in a value, and puts where they are in their place. */
    private function extract($value, string $at, ?string $section)
    {
        if ($value instanceof TableRows || $value instanceof KvDump) {
            $kind = $value instanceof TableRows ? 'records' : 'tree';
            $name = $this->name($kind === 'records' ? "table:$value->table" : "kv:$at");
            $value->send($this->dedupWith, $name);
            return [self::STREAM => [$kind, $name]];
        }
        if ($value instanceof \Traversable) {
            $value = iterator_to_array($value);
        }
        if (is_array($value)) {
            foreach ($value as $key => $item) {
                $value[$key] = $this->extract($item, "$at.$key", $section);
            }
        }
        return $value;
    }

    /** Returns a name that no stream has. */
    private function name(string $name): string
    {
        $name = preg_replace('/[^A-Za-z0-9_.:-]/', '_', substr($name, 0, 180));
        for ($n = 2, $free = $name; isset($this->streams[$free]); $n++) {
            $free = "$name~$n";
        }
        $this->streams[$free] = true;
        return $free;
    }

    /** To be overridden. This one stores nothing, unless the module asks for what dumpAll finds. */
    public function runBackup($id, $transaction)
    {
        if ($this->dedupBase->options['fallback']) {
            $this->log('the module has no exporter of its own: everything that has its name is stored', 'WARNING');
            $this->addConfigs($this->dumpAll() + ['defaultFallback' => true]);
        } else {
            $this->log('the module has no exporter of its own: nothing is stored', 'ERROR');
        }
    }

    /** Adds an entry of the configuration. Empty is a value. */
    public function addConfig($key, $value)
    {
        $this->configs[$key] = $value;
        return $this;
    }

    /** Puts these in place of all entries, as FreePBX does; what is lost by that is told. */
    public function addConfigs($configs)
    {
        $lost = array_diff_key($this->configs, $configs);
        if ($lost !== []) {
            $this->log('addConfigs replaces what addConfig gave: ' . implode(', ', array_keys($lost)), 'WARNING');
        }
        $this->configs = $configs;
        return $this;
    }

    public function addDependency($module)
    {
        $module = strtolower(trim((string) $module));
        if ($module === '' || $module === 'framework') {
            $this->log($module === '' ? 'a dependency without a name is ignored' : 'a dependency on the framework is ignored', 'WARNING');
        } else {
            $this->dedupWith->depend($module);
        }
        return $this;
    }

    /** Adds directories that must exist: not what is in them. */
    public function addDirectories($list)
    {
        foreach ($list as $path) {
            $this->dedupWith->dir(rtrim($path, '/'), ['recurse' => false]);
        }
        return $this;
    }

    /** Adds a file: its name, its directory, the variable it moves with, a label. */
    public function addFile($filename, $path, $base = '', $type = 'file')
    {
        $base = trim((string) $base, '_');
        $known = $base !== '' && isset($this->dedupWith->values[$base]);
        if ($base !== '' && !$known) {
            $this->log("the path variable $base is not known here: $path/$filename does not move", 'NOTICE');
        }
        $path = rtrim(preg_replace_callback('/^__(\w+)__/', function ($found) {
            return $this->dedupWith->values[$found[1]] ?? $found[0];
        }, (string) $path), '/');
        $this->dedupWith->file("$path/$filename", $type, $known ? $base : null);
        return $this;
    }

    /** Adds a list of maps with filename, path, base, type; one without a name is told, not dropped. */
    public function addFiles($files)
    {
        foreach ($files as $file) {
            if (empty($file['filename']) || empty($file['path'])) {
                $this->log('a file without its name or path is left out: ' . json_encode($file), 'WARNING');
                continue;
            }
            $this->addFile($file['filename'], $file['path'], $file['base'] ?? '', $file['type'] ?? 'file');
        }
        return $this;
    }

    public function addSplFile(\SplFileInfo $file)
    {
        $this->dedupWith->file($file->getPathname(), $file->getExtension() ?: 'file');
        return $this;
    }

    /** Removes something when the run is over: below `$this->tmpdir`. Files are read after runBackup, so nothing else could. */
    public function addGarbage($path)
    {
        if (strpos($path, $this->tmpdir . '/') === 0) {
            $this->dedupWith->garbage($path);
        } else {
            $this->log("$path is not removed: put what is temporary below \$this->tmpdir", 'WARNING');
        }
        return $this;
    }

    public function setskipreset()
    {
        $this->dedupWith->skipReset();
        return $this;
    }

    public function dumpAll($under_score = false)
    {
        return [
            'settings' => $this->dumpAdvancedSettings(),
            'features' => $this->dumpFeatureCodes(),
            'tables' => $this->dumpTables($under_score),
            'kvstore' => $this->dumpKVStore(),
        ];
    }

    public function dumpAdvancedSettings()
    {
        return $this->dedupPlatform()->settings();
    }

    public function dumpFeatureCodes()
    {
        return $this->dedupPlatform()->codes();
    }

    /** Returns table => rows, which are read when they are sent or looked at. */
    public function dumpTables($under_score = false, $ignore = [])
    {
        return $this->lazy($this->dedupPlatform()->tables((bool) $under_score, (array) $ignore));
    }

    public function dumpDBTables($prefix, $under_score = false, $ignore = [])
    {
        return $this->lazy($this->dedupPlatform()->tablesOf(strtolower($prefix), (bool) $under_score, (array) $ignore));
    }

    private function lazy(array $tables): array
    {
        $rows = [];
        foreach ($tables as $table) {
            $rows[$table] = new TableRows($this->dedupPlatform()->database(), $table);
        }
        return $rows;
    }

    /** Returns id => (key => value), read when it is sent or looked at. */
    public function dumpKVStore($ids = false)
    {
        return new KvDump($this->dedupPlatform(), $ids === false ? null : array_map('strval', (array) $ids));
    }

    /** Returns a list of family => (child => value), as importAstDB takes it. */
    public function dumpAstDB($family)
    {
        $entries = $this->dedupPlatform()->tree($family);
        return $entries === [] ? [] : [[$family => $entries]];
    }
}
