<?php
namespace Dedup;

/** What importers written for FreePBX derive from: `class Restore extends \Dedup\RestoreBase`. */
abstract class RestoreBase extends Surface
{
    use Legacy;

    public function dedupImport(): void
    {
        $this->runRestore();
    }

    public function dedupReset(): void
    {
        $this->reset();
    }

    /** To be overridden. This one takes what the exporter of the same kind stored. */
    public function runRestore()
    {
        $configs = $this->getConfigs();
        if (empty($configs['defaultFallback'])) {
            throw new Fail('the module has no importer of its own', 'not-supported');
        }
        $this->importAll($configs);
    }

    /** To be overridden, if the manifest asks for it: `[restore] reset = "command"`. */
    public function reset()
    {
    }

    /** Returns the configuration; dumps in it are read when they are looked at. */
    public function getConfigs()
    {
        return $this->inflate($this->dedupWith->allConfigs());
    }

    private function inflate($value)
    {
        if (!is_array($value)) {
            return $value;
        }
        if (isset($value[BackupBase::STREAM]) && count($value) === 1) {
            [$kind, $name] = $value[BackupBase::STREAM];
            switch ($kind) {
                case 'records':
                    return new StoredRows($this->dedupWith, $name);
                case 'tree':
                    return new StoredTree($this->dedupWith, $name);
                default:
                    $text = implode('', iterator_to_array($this->dedupWith->blob($name), false));
                    return $this->inflate(Values::decode(json_decode($text, true, 512, JSON_THROW_ON_ERROR)));
            }
        }
        return array_map([$this, 'inflate'], $value);
    }

    /** Returns what was exported of files, each with its type, path, base and contents. */
    public function getFiles()
    {
        $files = [];
        foreach ($this->dedupWith->files() as [$path, $kind, $base]) {
            $files[] = new StoredFile($this->dedupWith, $path, $kind, $base);
        }
        return $files;
    }

    public function getDirectories()
    {
        return array_column(iterator_to_array($this->dedupWith->dirs(), false), 0);
    }

    public function getDependencies()
    {
        return $this->dedupWith->begin['dependencies'] ?? [];
    }

    /** Returns the version that the module had when it was stored. */
    public function getVersion()
    {
        return $this->dedupWith->begin['module_version'] ?? '';
    }

    /** Returns whether the module must not be reset. */
    public function getResetInfo()
    {
        return $this->dedupWith->begin['skip_reset'] ?? false;
    }

    /** Makes `$this->tmpdir`: copies of all files below `files`. Whoever asks for contents, or takes files in place, needs none. */
    protected function dedupDirectory(): string
    {
        $directory = parent::dedupDirectory();
        foreach ($this->dedupWith->files() as [$path]) {
            $to = $directory . '/files' . $path;
            try {
                $this->dedupWith->place($path, $to);
            } catch (Refused $refused) {
                // A module of another user writes its files itself.
                if ($refused->word !== 'auth') {
                    $this->log("$path: " . $refused->getMessage(), 'WARNING');
                    continue;
                }
                @mkdir(dirname($to), 0700, true);
                $file = fopen($to, 'xb');
                foreach ($this->dedupWith->file($path) as $bytes) {
                    if ($file === false || fwrite($file, $bytes) !== strlen($bytes)) {
                        throw new Fail("$to cannot be written", 'no-space');
                    }
                }
                fclose($file);
            }
        }
        return $directory;
    }

    /** Takes what dumpAll gave. Feature codes may stand under either name. */
    public function importAll($configs)
    {
        foreach (['settings' => 'importAdvancedSettings', 'tables' => 'importTables', 'kvstore' => 'importKVStore'] as $key => $method) {
            if (isset($configs[$key])) {
                $this->{$method}($configs[$key]);
            }
        }
        $codes = $configs['features'] ?? $configs['codes'] ?? null;
        if ($codes !== null) {
            $this->importFeatureCodes($codes);
        }
    }

    public function importAdvancedSettings($settings)
    {
        $this->dedupPlatform()->setSettings($settings, $this->dedupLog());
    }

    /** Puts these in place of all feature codes of the module. */
    public function importFeatureCodes($codes)
    {
        $this->dedupPlatform()->setCodes($codes, $this->dedupLog());
    }

    /** Takes [[family => [child => value]]] and [family => [child => value]]. */
    public function importAstDB($data)
    {
        $this->dedupPlatform()->setTree($data);
    }

    public function importTables($tables)
    {
        foreach ($tables as $table => $rows) {
            $this->addDataToTableFromArray($table, $rows);
        }
    }

    public function importKVStore($store)
    {
        $rows = $store instanceof StoredTree ? $store->rows() : Platform::kvEntries($store);
        $this->dedupPlatform()->setKv($rows, $this->dedupLog());
    }

    /** Empties a table, and puts rows into it; columns that are not there, and rows that are refused, are told. */
    public function addDataToTableFromArray($table, $rows, $delete = true)
    {
        return $this->dedupPlatform()->database()->fill($table, $rows, (bool) $delete, $this->dedupLog());
    }
}
