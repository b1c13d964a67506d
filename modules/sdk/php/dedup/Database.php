<?php
namespace Dedup;

/** The tables of a database that the host has open: MariaDB, MySQL or SQLite, by PDO. */
final class Database
{
    /** Rows of one page. */
    const PAGE = 1000;

    /** @var \PDO */
    public $pdo;
    private $isMysql;
    /** @var int whether SQLite checks what refers to a table */
    private $checks = 0;

    public function __construct(\PDO $pdo)
    {
        $this->pdo = $pdo;
        $this->isMysql = $pdo->getAttribute(\PDO::ATTR_DRIVER_NAME) === 'mysql';
    }

    public function quote(string $name): string
    {
        return '`' . str_replace('`', '``', $name) . '`';
    }

    /** Runs a statement; an error is thrown whatever the host has set. */
    public function run(string $sql, array $values = [], array $options = []): \PDOStatement
    {
        $statement = $this->pdo->prepare($sql, $options);
        if ($statement === false || !$statement->execute($values)) {
            $of = $statement === false ? $this->pdo : $statement;
            throw new Fail($sql . ': ' . ($of->errorInfo()[2] ?? 'it failed'), 'unreadable');
        }
        return $statement;
    }

    /** Returns the first column of what a statement gives. */
    public function column(string $sql, array $values = []): array
    {
        return $this->run($sql, $values)->fetchAll(\PDO::FETCH_COLUMN, 0);
    }

    /** Returns all tables, views left out. */
    public function tables(): array
    {
        $sql = $this->isMysql
            ? "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' ORDER BY 1"
            : "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY 1";
        return $this->column($sql);
    }

    public function has(string $table): bool
    {
        return in_array($table, $this->tables(), true);
    }

    /** Returns the columns of a table: name => type. What the engine computes is left out. */
    public function columns(string $table): array
    {
        $columns = [];
        if ($this->isMysql) {
            foreach ($this->run('SHOW COLUMNS FROM ' . $this->quote($table))->fetchAll(\PDO::FETCH_NUM) as $column) {
                if (stripos($column[5], 'GENERATED') === false || stripos($column[5], 'DEFAULT_GENERATED') !== false) {
                    $columns[$column[0]] = $column[1];
                }
            }
            return $columns;
        }
        foreach ($this->run('PRAGMA table_info(' . $this->quote($table) . ')')->fetchAll(\PDO::FETCH_NUM) as $column) {
            $columns[$column[1]] = $column[2];
        }
        return $columns;
    }

    /** Returns the columns of the primary key. */
    public function primary(string $table): array
    {
        $key = [];
        if ($this->isMysql) {
            $sql = 'SHOW KEYS FROM ' . $this->quote($table) . " WHERE Key_name = 'PRIMARY'";
            foreach ($this->run($sql)->fetchAll(\PDO::FETCH_ASSOC) as $part) {
                $key[$part['Seq_in_index']] = $part['Column_name'];
            }
        } else {
            foreach ($this->run('PRAGMA table_info(' . $this->quote($table) . ')')->fetchAll(\PDO::FETCH_NUM) as $column) {
                if ($column[5] > 0) {
                    $key[$column[5]] = $column[1];
                }
            }
        }
        ksort($key);
        return array_values($key);
    }

    /** Returns the options of a statement whose rows come as they are taken: nothing else may be asked meanwhile. */
    public function alone(): array
    {
        return $this->isMysql ? [\PDO::MYSQL_ATTR_USE_BUFFERED_QUERY => false] : [];
    }

    private function list(array $names): string
    {
        return implode(', ', array_map([$this, 'quote'], $names));
    }

    /** Yields all rows in the order of their key, as lists, without holding them; nothing else may be asked meanwhile. */
    public function stream(string $table): \Generator
    {
        $sql = 'SELECT ' . $this->list(array_keys($this->columns($table))) . ' FROM ' . $this->quote($table);
        $key = $this->primary($table);
        $sql .= $key === [] ? '' : ' ORDER BY ' . $this->list($key);
        $binary = array_keys(array_filter(array_values($this->columns($table)), [self::class, 'isBinary']));
        $rows = $this->run($sql, [], $this->alone());
        try {
            while (($row = $rows->fetch(\PDO::FETCH_NUM)) !== false) {
                foreach ($binary as $place) {
                    $row[$place] = is_string($row[$place]) ? new Bytes($row[$place]) : $row[$place];
                }
                yield $row;
            }
        } finally {
            $rows->closeCursor();
        }
    }

    /** Yields all rows as maps, a page at a time, so that whoever takes them may ask for other things. */
    public function pages(string $table): \Generator
    {
        $key = $this->primary($table);
        $columns = $this->list(array_keys($this->columns($table)));
        $from = 'SELECT ' . $columns . ' FROM ' . $this->quote($table);
        if ($key === []) {
            yield from $this->run($from)->fetchAll(\PDO::FETCH_ASSOC);
            return;
        }
        $names = $this->list($key);
        $marks = implode(', ', array_fill(0, count($key), '?'));
        $order = " ORDER BY $names LIMIT " . self::PAGE;
        $rows = $this->run($from . $order)->fetchAll(\PDO::FETCH_ASSOC);
        while ($rows !== []) {
            yield from $rows;
            $last = end($rows);
            $after = array_map(static function ($column) use ($last) {
                return $last[$column];
            }, $key);
            $rows = count($rows) < self::PAGE
                ? []
                : $this->run("$from WHERE ($names) > ($marks)$order", $after)->fetchAll(\PDO::FETCH_ASSOC);
        }
    }

    /** Whether a column of this type holds bytes. */
    private static function isBinary(string $type): bool
    {
        return preg_match('/blob|binary/i', $type) === 1;
    }

    /** Returns one row by its place. */
    public function at(string $table, int $place): ?array
    {
        $key = $this->primary($table);
        $sql = 'SELECT * FROM ' . $this->quote($table) . ($key === [] ? '' : ' ORDER BY ' . $this->list($key));
        return $this->run("$sql LIMIT 1 OFFSET $place")->fetch(\PDO::FETCH_ASSOC) ?: null;
    }

    public function count(string $table): int
    {
        return (int) $this->column('SELECT COUNT(*) FROM ' . $this->quote($table))[0];
    }

    /**
     * Puts rows into a table, emptied before unless `$delete` is false: then a row whose key is there takes its place.
     * `$log(text, level)` hears of columns that are not there, and of rows that are refused. Returns how many rows are in.
     */
    public function fill(string $table, iterable $rows, bool $delete, callable $log): int
    {
        if (!$this->has($table)) {
            $log("there is no table $table here: its rows are left out", 'ERROR');
            return 0;
        }
        $columns = $this->columns($table);
        return $this->atomic(function () use ($table, $columns, $rows, $delete, $log) {
            if ($delete) {
                $this->run('DELETE FROM ' . $this->quote($table));
            }
            return $this->insert($table, $columns, $rows, $delete ? 'INSERT' : 'REPLACE', $log);
        });
    }

    /** Does something in one transaction, unless there is one already: all of it, or nothing. */
    public function atomic(callable $work)
    {
        if ($this->pdo->inTransaction()) {
            return $work();
        }
        $this->relax(true);
        $this->pdo->beginTransaction();
        try {
            $done = $work();
            $this->pdo->commit();
            return $done;
        } catch (\Throwable $error) {
            if ($this->pdo->inTransaction()) {
                $this->pdo->rollBack();
            }
            throw $error;
        } finally {
            $this->relax(false);
        }
    }

    private function insert(string $table, array $columns, iterable $rows, string $verb, callable $log): int
    {
        $statements = $dropped = [];
        $count = $at = 0;
        foreach ($rows as $row) {
            $at++;
            $there = array_intersect_key($row, $columns);
            foreach (array_diff_key($row, $there, $dropped) as $name => $_) {
                $dropped[$name] = true;
                $log("table $table has no column $name here: its values are left out", 'WARNING');
            }
            if ($there === []) {
                $log("row $at of $table has none of its columns", 'ERROR');
                continue;
            }
            $shape = implode("\0", array_keys($there));
            try {
                if (!isset($statements[$shape])) {
                    $marks = implode(', ', array_fill(0, count($there), '?'));
                    $sql = "$verb INTO {$this->quote($table)} ({$this->list(array_keys($there))}) VALUES ($marks)";
                    $statements[$shape] = $this->pdo->prepare($sql);
                }
                $statement = $statements[$shape];
                $done = $statement !== false && self::bind($statement, $there, $columns)->execute();
                $why = $done ? '' : ($statement === false ? $this->pdo : $statement)->errorInfo()[2];
            } catch (\PDOException $error) {
                $done = false;
                $why = $error->getMessage();
            }
            if ($done) {
                $count++;
            } else {
                $log("row $at of $table is refused: $why", 'ERROR');
            }
        }
        return $count;
    }

    /** Binds values as what they are: bytes stay bytes, and numbers are no text. */
    private static function bind(\PDOStatement $statement, array $row, array $columns): \PDOStatement
    {
        $place = 0;
        foreach ($row as $name => $value) {
            $kind = \PDO::PARAM_STR;
            if ($value === null) {
                $kind = \PDO::PARAM_NULL;
            } elseif (is_int($value)) {
                $kind = \PDO::PARAM_INT;
            } elseif (is_bool($value)) {
                $value = (int) $value;
                $kind = \PDO::PARAM_INT;
            } elseif (is_string($value) && self::isBinary($columns[$name])) {
                $kind = \PDO::PARAM_LOB;
            }
            $statement->bindValue(++$place, $value, $kind);
        }
        return $statement;
    }

    /** What refers to a table must not act on what is loaded, and 0 is a value, not a wish for the next number. */
    private function relax(bool $on): void
    {
        if ($this->isMysql) {
            $this->run($on
                ? "SET @dedup_checks = @@SESSION.foreign_key_checks, SESSION foreign_key_checks = 0,
                    @dedup_mode = @@SESSION.sql_mode, SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',NO_AUTO_VALUE_ON_ZERO')"
                : 'SET SESSION foreign_key_checks = @dedup_checks, SESSION sql_mode = @dedup_mode');
            return;
        }
        if ($on) {
            $this->checks = (int) $this->column('PRAGMA foreign_keys')[0];
        }
        $this->run('PRAGMA foreign_keys = ' . ($on ? 0 : $this->checks));
    }
}
