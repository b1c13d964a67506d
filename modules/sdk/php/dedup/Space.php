<?php
namespace Dedup;

/** A space, under the names that repair plugins know. Values are plain data; paths are copied by the engine. */
final class Space
{
    /** @var string */
    public $id;
    /** @var bool */
    public $persistent;
    private $wire;

    public function __construct(Wire $wire, string $id, bool $persistent)
    {
        $this->wire = $wire;
        $this->id = $id;
        $this->persistent = $persistent;
        $this->ask('open', ['persistent' => $persistent]);
    }

    private function ask(string $act, array $keys): array
    {
        $keys = array_filter($keys, static function ($value) {
            return $value !== null;
        });
        return $this->wire->ask(['t' => 'space.' . $act, 'space' => $this->id] + $keys);
    }

    private static function path(?string $path)
    {
        return $path === null ? null : Values::path($path);
    }

    public function backupPath(string $path, ?string $name = null): void
    {
        $this->ask('put_path', ['path' => self::path($path), 'name' => $name]);
    }

    /** Puts a value; null is one. */
    public function backupValue($value, string $name): void
    {
        $this->wire->ask(['t' => 'space.put_value', 'space' => $this->id, 'name' => $name, 'value' => Values::encode($value)]);
    }

    public function restoreName(string $name, ?string $path = null): void
    {
        $this->ask('restore_name', ['name' => $name, 'to' => self::path($path)]);
    }

    public function restorePath(string $path, ?string $name = null): void
    {
        $this->ask('restore_path', ['path' => self::path($path), 'name' => $name]);
    }

    public function restoreValue(string $name)
    {
        return Values::decode($this->ask('value', ['name' => $name])['value'] ?? null);
    }

    public function exists(?string $name = null, ?string $path = null): bool
    {
        return $this->ask('exists', ['name' => $name, 'path' => self::path($path)])['exists'];
    }

    public function delete(string $name): void
    {
        $this->ask('delete', ['name' => $name]);
    }

    public function names(): array
    {
        return $this->ask('list', [])['names'];
    }

    public function cleanup(): void
    {
        foreach ($this->names() as $name) {
            $this->delete($name);
        }
    }
}
