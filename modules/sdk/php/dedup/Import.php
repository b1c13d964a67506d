<?php
namespace Dedup;

/** What an import can get; also check, legacy, and what reset, revert and run are given. */
final class Import extends Common
{
    /** @var array versions, dependencies, … (PROTOCOL.md 6) */
    public $begin = [];
    /** @var array what was exported as configuration; `config` and `allConfigs` mark it as taken */
    public $configs = [];
    /** @var array keys that were noted as absent */
    public $absent = [];
    /** @var array streams by their names: section, kind, bytes */
    public $blobs = [], $tables = [], $trees = [];

    public function listen(string $op): void
    {
        if ($op === 'describe' || $op === 'reset') {
            return;
        }
        $this->begin = array_diff_key($this->wire->next('begin'), ['t' => 0, 'cost' => 0]);
        if (!in_array($op, ['import', 'check', 'legacy'], true)) {
            return;
        }
        do {
            $message = $this->wire->next('configs');
            foreach ($message['map'] as $key => $value) {
                $this->configs[$key] = Values::decode($value);
            }
            $this->absent = array_merge($this->absent, $message['absent'] ?? []);
        } while ($message['more']);
        do {
            $message = $this->wire->next('have');
            foreach (['blobs' => 'blobs', 'records' => 'tables', 'trees' => 'trees'] as $key => $of) {
                foreach ($message[$key] as $stream) {
                    $this->{$of}[$stream['name']] = $stream;
                }
            }
        } while ($message['more']);
    }

    /** Returns a value of the configuration, and marks it as taken. */
    public function config(string $key, $default = null)
    {
        if (!array_key_exists($key, $this->configs)) {
            return $default;
        }
        $this->take('config', $key);
        return $this->configs[$key];
    }

    public function allConfigs(): array
    {
        $this->take('config');
        return $this->configs;
    }

    /** Yields the bytes of a blob. */
    public function blob(string $name): \Generator
    {
        return $this->wire->frames($this->wire->ask(['t' => 'get', 'what' => 'blob', 'name' => $name])['s']);
    }

    /** Yields the rows of records, each as a map of its columns. */
    public function records(string $name): \Generator
    {
        $answer = $this->wire->ask(['t' => 'get', 'what' => 'records', 'name' => $name]);
        $columns = array_column($answer['schema']['columns'], 'name');
        foreach ($this->wire->frames($answer['s']) as $row) {
            yield array_combine($columns, $row);
        }
    }

    /** Yields the rows of a tree: a list of keys, and a value. */
    public function tree(string $name): \Generator
    {
        return $this->wire->frames($this->wire->ask(['t' => 'get', 'what' => 'tree', 'name' => $name])['s']);
    }

    /** Yields path, kind, base and section of every file that was exported. */
    public function files(): \Generator
    {
        return $this->items('files');
    }

    /** The same of directories. */
    public function dirs(): \Generator
    {
        return $this->items('dirs');
    }

    private function items(string $what): \Generator
    {
        foreach ($this->wire->frames($this->wire->ask(['t' => 'get', 'what' => $what])['s']) as $row) {
            $row[0] = Values::pathIn($row[0]);
            yield $row;
        }
    }

    /** Yields the content of a stored file. */
    public function file(string $path): \Generator
    {
        return $this->wire->frames($this->wire->ask(['t' => 'get', 'what' => 'file', 'path' => Values::path($path)])['s']);
    }

    /** Marks a stored file as taken, or puts a copy of it below scratch. */
    public function place(string $path, ?string $to = null): void
    {
        $this->wire->ask(['t' => 'place', 'path' => Values::path($path)] + ($to === null ? [] : ['to' => Values::path($to)]));
    }

    public function resolve(string $variable): string
    {
        return Values::pathIn($this->wire->ask(['t' => 'resolve', 'variable' => $variable])['path']);
    }

    /** Asks whether a source of the manifest was loaded. */
    public function load(string $source): string
    {
        return $this->wire->ask(['t' => 'load', 'name' => $source])['outcome'];
    }

    public function take(string $what, ?string $name = null): void
    {
        $this->say('take', ['what' => $what, 'name' => $name]);
    }
}

/** A file that was exported, as importers written for FreePBX know it. */
final class StoredFile extends \SplFileInfo
{
    private $import;
    private $kind;
    private $base;

    public function __construct(Import $import, string $path, ?string $kind, ?string $base)
    {
        parent::__construct($path);
        $this->import = $import;
        $this->kind = $kind ?? 'file';
        $this->base = $base ?? '';
    }

    /** Returns the label it was exported with. */
    #[\ReturnTypeWillChange]
    public function getType()
    {
        return $this->kind;
    }

    /** Returns the directory it is in, without a slash at the end. */
    public function getPathTo(): string
    {
        return $this->getPath();
    }

    public function getRelativePath(): string
    {
        return ltrim($this->getPath(), '/');
    }

    public function getRelativePathname(): string
    {
        return ltrim($this->getPathname(), '/');
    }

    /** Returns the variable it moves with. */
    public function getBase(): string
    {
        return $this->base;
    }

    /** Returns what was stored, whatever lies there now. */
    public function getContents(): string
    {
        return implode('', iterator_to_array($this->import->file($this->getPathname()), false));
    }
}
