<?php
namespace Dedup;

/** Rows that are read when they are needed: to be gone through, counted, and looked at by their place, as often as is liked. */
abstract class LazyRows implements \IteratorAggregate, \ArrayAccess, \Countable
{
    /** Returns them all in memory, for functions that take nothing but arrays. */
    public function toArray(): array
    {
        return iterator_to_array($this->getIterator(), true);
    }

    #[\ReturnTypeWillChange]
    public function offsetExists($place)
    {
        return $this->offsetGet($place) !== null;
    }

    #[\ReturnTypeWillChange]
    public function offsetSet($place, $value)
    {
        throw new \LogicException('a dump cannot be changed; toArray() gives an array that can');
    }

    #[\ReturnTypeWillChange]
    public function offsetUnset($place)
    {
        $this->offsetSet($place, null);
    }
}

/** The rows of a table of the host. */
final class TableRows extends LazyRows
{
    /** @var Database */
    public $database;
    /** @var string */
    public $table;

    public function __construct(Database $database, string $table)
    {
        $this->database = $database;
        $this->table = $table;
    }

    public function getIterator(): \Traversable
    {
        return $this->database->pages($this->table);
    }

    #[\ReturnTypeWillChange]
    public function offsetGet($place)
    {
        return $this->database->at($this->table, (int) $place);
    }

    public function count(): int
    {
        return $this->database->count($this->table);
    }

    /** Sends them under a name. */
    public function send(Export $out, string $name): void
    {
        $columns = [];
        foreach ($this->database->columns($this->table) as $column => $type) {
            $columns[] = ['name' => (string) $column, 'type' => $type];
        }
        $schema = ['primary' => $this->database->primary($this->table), 'table' => $this->table];
        $out->records($name, $columns, $this->database->stream($this->table), $schema);
    }
}

/** What a module keeps in the key-value store: id => (key => value). */
final class KvDump extends LazyRows
{
    /** @var Platform */
    public $platform;
    /** @var ?array ids that are meant; null: all */
    public $ids;

    public function __construct(Platform $platform, ?array $ids)
    {
        $this->platform = $platform;
        $this->ids = $ids;
    }

    public function getIterator(): \Traversable
    {
        $id = null;
        $entries = [];
        foreach ($this->platform->kvRows($this->ids) as [$path, $value]) {
            if ($id !== null && $path[0] !== $id) {
                yield $id => $entries;
                $entries = [];
            }
            $id = $path[0];
            $entries[$path[1]] = Platform::kvValue($value);
        }
        if ($id !== null) {
            yield $id => $entries;
        }
    }

    #[\ReturnTypeWillChange]
    public function offsetGet($id)
    {
        $entries = [];
        foreach ($this->platform->kvRows([(string) $id]) as [$path, $value]) {
            $entries[$path[1]] = Platform::kvValue($value);
        }
        return $entries === [] ? null : $entries;
    }

    public function count(): int
    {
        return iterator_count($this->getIterator());
    }

    public function send(Export $out, string $name): void
    {
        $out->tree($name, $this->platform->kvRows($this->ids, true));
    }
}

/** Rows that were stored. */
final class StoredRows extends LazyRows
{
    private $import;
    private $name;

    public function __construct(Import $import, string $name)
    {
        $this->import = $import;
        $this->name = $name;
    }

    public function getIterator(): \Traversable
    {
        return $this->import->records($this->name);
    }

    #[\ReturnTypeWillChange]
    public function offsetGet($place)
    {
        $found = null;
        // To the end, so that the stream is whole.
        foreach ($this->getIterator() as $at => $row) {
            $found = $at === (int) $place ? $row : $found;
        }
        return $found;
    }

    public function count(): int
    {
        return iterator_count($this->getIterator());
    }
}

/** Entries of the key-value store that were stored: id => (key => value). */
final class StoredTree extends LazyRows
{
    private $import;
    private $name;

    public function __construct(Import $import, string $name)
    {
        $this->import = $import;
        $this->name = $name;
    }

    /** Yields the rows as they are stored. */
    public function rows(): \Generator
    {
        return $this->import->tree($this->name);
    }

    public function getIterator(): \Traversable
    {
        $id = null;
        $entries = [];
        foreach ($this->rows() as [$path, $value]) {
            if ($id !== null && $path[0] !== $id) {
                yield $id => $entries;
                $entries = [];
            }
            $id = $path[0];
            $entries[$path[1]] = Platform::kvValue($value);
        }
        if ($id !== null) {
            yield $id => $entries;
        }
    }

    #[\ReturnTypeWillChange]
    public function offsetGet($id)
    {
        $found = null;
        foreach ($this->getIterator() as $at => $entries) {
            $found = (string) $at === (string) $id ? $entries : $found;
        }
        return $found;
    }

    public function count(): int
    {
        return iterator_count($this->getIterator());
    }
}
