<?php
namespace Dedup;

/** What every operation can do. */
abstract class Common
{
    const LEVELS = ['emergency', 'alert', 'critical', 'error', 'warning', 'notice', 'info', 'debug'];

    /** @var array what the engine said first */
    public $hello;
    /** @var array the path variables of this machine */
    public $values = [];
    protected $wire;
    private $scratch = null;
    private $spaces = [];

    public function __construct(Wire $wire, array $hello)
    {
        $this->wire = $wire;
        $this->hello = $hello;
        foreach ($hello['values'] ?? [] as $name => $path) {
            $this->values[$name] = Values::pathIn($path);
        }
    }

    /** Returns text for people: UTF-8, and not too long. */
    public static function text(string $text, int $most): string
    {
        $text = preg_match('//u', $text) === 1 ? $text : preg_replace('/[^\x20-\x7e\n]/', '?', $text);
        $text = substr($text, 0, $most);
        // A character that was cut.
        return preg_match('//u', $text) === 1 ? $text : preg_replace('/[\xc0-\xff][\x80-\xbf]*$/', '', $text);
    }

    public function log(string $message, string $level = 'info', array $fields = []): void
    {
        $level = strtolower($level);
        $known = in_array($level, self::LEVELS, true) ? $level : 'info';
        $line = ['t' => 'log', 'level' => $known, 'msg' => self::text($message, 4000)];
        if ($fields !== []) {
            $line['fields'] = Values::encode((object) $fields);
        }
        $this->wire->send($line);
    }

    public function progress(int $done, ?int $total = null, string $what = ''): void
    {
        $this->wire->send(['t' => 'progress', 'done' => $done, 'total' => $total, 'what' => $what]);
    }

    /** Returns a directory of its own, which is removed when the run ends. */
    public function scratch(): string
    {
        if ($this->scratch === null) {
            $this->scratch = Values::pathIn($this->wire->ask(['t' => 'scratch'])['path']);
        }
        return $this->scratch;
    }

    /** Returns a space: a place for copies of what is about to be changed. The same object every time. */
    public function getBackup(?string $id = null, bool $persistent = false): Space
    {
        $id = $id ?? $this->hello['module'];
        if (!isset($this->spaces[$id])) {
            $this->spaces[$id] = new Space($this->wire, $id, $persistent);
        }
        return $this->spaces[$id];
    }

    /** Ends work with a space: what is not persistent is emptied. */
    public function closeBackup(string $id): void
    {
        if (!isset($this->spaces[$id])) {
            throw new Refused('absent', "there is no space $id here");
        }
        if (!$this->spaces[$id]->persistent) {
            $this->spaces[$id]->cleanup();
        }
        unset($this->spaces[$id]);
    }

    /** Sends a message; what is null is left out. */
    protected function say(string $kind, array $keys): void
    {
        $this->wire->send(['t' => $kind] + self::there($keys));
    }

    protected static function there(array $keys): array
    {
        return array_filter($keys, static function ($value) {
            return $value !== null;
        });
    }
}

/** What an export can send. `$section` is `config`, `data` or `secrets`. */
final class Export extends Common
{
    public function config(string $key, $value, ?string $section = null): void
    {
        $this->wire->send(['t' => 'config', 'key' => $key, 'value' => Values::encode($value)] + self::there(['section' => $section]));
    }

    public function absent(string $key, ?string $section = null): void
    {
        $this->say('config', ['key' => $key, 'absent' => true, 'section' => $section]);
    }

    public function configs(array $entries, bool $replace = false, ?string $section = null): void
    {
        if ($replace) {
            $this->say('configs', ['map' => new \stdClass(), 'replace' => true, 'section' => $section]);
        }
        foreach ($entries as $key => $value) {
            $this->config((string) $key, $value, $section);
        }
    }

    public function depend(string $module, ?string $version = null, bool $after = false): void
    {
        $this->say('depend', ['module' => $module, 'version' => $version, 'after' => $after]);
    }

    public function file(string $path, ?string $kind = null, ?string $base = null, ?string $section = null, bool $optional = false): void
    {
        $this->say('file', ['path' => Values::path($path), 'kind' => $kind, 'base' => $base, 'section' => $section, 'optional' => $optional]);
    }

    /** `$options`: kind, base, section, optional, recurse, exclude. */
    public function dir(string $path, array $options = []): void
    {
        $this->say('dir', ['path' => Values::path($path)] + $options);
    }

    /** Opens a stream of bytes; write to what is returned, and close it. */
    public function blob(string $name, ?string $section = null, ?string $kind = null): Sending
    {
        $open = ['t' => 'blob', 'name' => $name] + self::there(['section' => $section, 'kind' => $kind]);
        return new Sending($this->wire, $this->wire->open($open));
    }

    /**
     * Sends rows. Columns are names, or maps with a name; `$rows` lists of values in their order, as they come.
     * `$schema`: what else is known. With `'primary'`, a list of columns whose values no two rows share, each row is stored by
     * itself under its key, and they come back in that order: so what has not changed is stored once, and rows can be compared.
     */
    public function records(string $name, array $columns, iterable $rows, array $schema = [], ?string $section = null): int
    {
        $columns = array_map(static function ($column) {
            return is_string($column) ? ['name' => $column] : $column;
        }, $columns);
        $open = ['t' => 'records', 'name' => $name, 'schema' => Values::encode(['columns' => $columns] + $schema)];
        $open += $this->wire->keyed && !empty($schema['primary']) ? ['keyed' => true] : [];
        return $this->rows($this->wire->open($open + self::there(['section' => $section])), $rows);
    }

    /** Sends a tree: rows of a list of keys, and a value. */
    public function tree(string $name, iterable $rows, ?string $section = null): int
    {
        return $this->rows($this->wire->open(['t' => 'tree', 'name' => $name] + self::there(['section' => $section])), $rows);
    }

    private function rows(int $s, iterable $rows): int
    {
        $sending = new Rows($this->wire, $s);
        try {
            foreach ($rows as $row) {
                $sending->row($row);
            }
        } catch (Stop $why) {
            throw $why;
        } catch (\Throwable $error) {
            $sending->void($error);
            throw $error;
        }
        return $sending->close();
    }

    /** Has a source of the manifest dumped now; returns what became of it. */
    public function dump(string $source): string
    {
        return $this->wire->ask(['t' => 'dump', 'name' => $source])['outcome'];
    }

    /** Removes this when the run ends; only below scratch. */
    public function garbage(string $path): void
    {
        $this->say('garbage', ['path' => Values::path($path)]);
    }

    public function skipReset(): void
    {
        $this->wire->send(['t' => 'skip_reset']);
    }
}

/** Bytes that are being sent. */
final class Sending
{
    private $wire;
    private $s;
    private $digest;
    private $bytes = 0;
    private $held = '';

    public function __construct(Wire $wire, int $s)
    {
        $this->wire = $wire;
        $this->s = $s;
        $this->digest = hash_init('sha256');
    }

    public function write(string $data): void
    {
        hash_update($this->digest, $data);
        $this->bytes += strlen($data);
        if ($this->held !== '' || strlen($data) < Wire::BLOCK) {
            $this->held .= $data;
            if (strlen($this->held) < Wire::BLOCK) {
                return;
            }
            $data = $this->held;
            $this->held = '';
        }
        $this->wire->look();
        $this->wire->sendBytes($this->s, $data);
    }

    /** Sends all that a stream of PHP has. */
    public function copy($from): void
    {
        while (!feof($from)) {
            $data = fread($from, Wire::BLOCK);
            if ($data === false) {
                throw new Fail('a stream could not be read', 'unreadable');
            }
            $this->write($data);
        }
    }

    public function close(): void
    {
        if ($this->held !== '') {
            $this->wire->sendBytes($this->s, $this->held);
        }
        $this->wire->close($this->s, ['t' => 'end', 'bytes' => $this->bytes, 'sha256' => hash_final($this->digest)]);
    }

    /** Voids it. */
    public function void(string $why, string $code = 'internal'): void
    {
        $this->wire->close($this->s, ['t' => 'error', 'code' => $code, 'msg' => Common::text($why, 1000)]);
    }
}

/** Rows that are being sent, many in one line. */
final class Rows
{
    private $wire;
    private $s;
    private $count = 0;
    private $held = [];
    private $bytes = 0;

    public function __construct(Wire $wire, int $s)
    {
        $this->wire = $wire;
        $this->s = $s;
    }

    public function row(array $values): void
    {
        $row = self::json($values);
        $this->held[] = $row;
        $this->bytes += strlen($row);
        $this->count++;
        if ($this->bytes >= Wire::ROWS) {
            $this->flush();
            $this->wire->look();
        }
    }

    /** Returns a row as text. Most hold nothing but text and small numbers, which need no look at each. */
    private static function json(array $values): string
    {
        foreach ($values as $value) {
            $plain = is_string($value) || $value === null || is_bool($value)
                || is_int($value) && $value <= Values::MAX_NUMBER && $value >= -Values::MAX_NUMBER;
            if (!$plain) {
                return json_encode(Values::encode(array_values($values)), Values::JSON);
            }
        }
        try {
            return json_encode(array_values($values), Values::JSON);
        } catch (\JsonException $error) {
            return json_encode(Values::encode(array_values($values)), Values::JSON);
        }
    }

    private function flush(): void
    {
        if ($this->held !== []) {
            $this->wire->sendRows($this->s, $this->held);
            $this->held = [];
            $this->bytes = 0;
        }
    }

    public function close(): int
    {
        $this->flush();
        $this->wire->close($this->s, ['t' => 'end', 'count' => $this->count]);
        return $this->count;
    }

    public function void(\Throwable $error): void
    {
        $message = ['t' => 'error', 'code' => 'internal', 'msg' => Common::text($error->getMessage(), 1000)];
        $this->wire->close($this->s, $message);
    }
}
