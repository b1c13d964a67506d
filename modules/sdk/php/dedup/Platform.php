<?php
namespace Dedup;

/** What FreePBX keeps for a module: tables, settings, feature codes, key-value store, the tree of the switch. */
final class Platform
{
    const CODES = ['featurename', 'description', 'helptext', 'defaultcode', 'customcode', 'enabled', 'providedest'];

    /** @var string the module's name as tables have it */
    public $module;
    private $host;
    private $database = null;
    private $declared;

    /** `$declared`: tables that the module's descriptor lists, beside those that have its name. */
    public function __construct($host, string $module, array $declared = [])
    {
        $this->host = $host;
        $this->module = strtolower($module);
        $this->declared = $declared;
    }

    public function database(): Database
    {
        if ($this->database === null) {
            $pdo = $this->host->Database ?? null;
            if (!$pdo instanceof \PDO) {
                throw new Fail('the host gives no database: its bootstrap must set Database, a PDO', 'setup');
            }
            $this->database = new Database($pdo);
        }
        return $this->database;
    }

    /**
     * Returns the tables that begin with a name, taken literally: those where `_` follows, or nothing; without `$under_score`
     * also others, unless they begin with the longer name of another module that is installed.
     */
    public function tablesOf(string $prefix, bool $under_score, array $ignore = []): array
    {
        $all = $this->database()->tables();
        $others = [];
        if (!$under_score && in_array('modules', $all, true)) {
            foreach ($this->database()->column('SELECT modulename FROM modules') as $other) {
                if (strlen($other) > strlen($prefix) && stripos($other, $prefix) === 0) {
                    $others[] = strtolower($other);
                }
            }
        }
        $of = static function ($table) use ($prefix, $under_score, $others) {
            $table = strtolower($table);
            if ($table === $prefix || strpos($table, $prefix . '_') === 0) {
                $is = !$under_score || $table !== $prefix;
            } else {
                $is = !$under_score && strpos($table, $prefix) === 0;
            }
            foreach ($others as $other) {
                $is = $is && strpos($table, $other) !== 0;
            }
            return $is;
        };
        return array_values(array_diff(array_filter($all, $of), $ignore));
    }

    /** Returns the module's own tables. */
    public function tables(bool $under_score, array $ignore = []): array
    {
        $declared = array_intersect($this->declared, $this->database()->tables());
        $tables = array_merge($this->tablesOf($this->module, $under_score, $ignore), array_diff($declared, $ignore));
        $tables = array_unique($tables);
        sort($tables);
        return $tables;
    }

    /** Returns keyword => value of the settings that the module brought. */
    public function settings(): array
    {
        $rows = $this->database()->run('SELECT keyword, value FROM freepbx_settings WHERE module = ? ORDER BY keyword', [$this->module]);
        return $rows->fetchAll(\PDO::FETCH_KEY_PAIR);
    }

    /** Sets them; those that are not known here are made, and told. */
    public function setSettings(iterable $settings, callable $log): void
    {
        $database = $this->database();
        foreach ($settings as $keyword => $value) {
            $there = $database->column('SELECT COUNT(*) FROM freepbx_settings WHERE keyword = ?', [$keyword])[0] > 0;
            if ($there) {
                $database->run('UPDATE freepbx_settings SET value = ? WHERE keyword = ?', [$value, $keyword]);
                continue;
            }
            $log("the setting $keyword is not known here", 'WARNING');
            $row = ['keyword' => $keyword, 'value' => $value, 'module' => $this->module];
            $database->fill('freepbx_settings', [$row], false, $log);
        }
    }

    /** Returns the feature codes of the module: name => what is known of it. */
    public function codes(): array
    {
        $there = array_intersect(self::CODES, array_keys($this->database()->columns('featurecodes')));
        $sql = 'SELECT ' . implode(', ', $there) . ' FROM featurecodes WHERE modulename = ? ORDER BY featurename';
        $codes = [];
        foreach ($this->database()->run($sql, [$this->module])->fetchAll(\PDO::FETCH_ASSOC) as $row) {
            $name = $row['featurename'];
            unset($row['featurename']);
            $codes[$name] = $row;
        }
        return $codes;
    }

    /** Puts these in place of all codes of the module. None is a wish too. */
    public function setCodes(iterable $codes, callable $log): void
    {
        $rows = [];
        foreach ($codes as $name => $code) {
            $rows[] = ['modulename' => $this->module, 'featurename' => (string) $name] + $code;
        }
        $this->database()->atomic(function () use ($rows, $log) {
            $this->database()->run('DELETE FROM featurecodes WHERE modulename = ?', [$this->module]);
            $this->database()->fill('featurecodes', $rows, false, $log);
        });
    }

    private function kvTable(): string
    {
        return 'kvstore_FreePBX_modules_' . ucfirst($this->module);
    }

    /**
     * Yields the module's entries of the key-value store: [[id, key], [text, type]]. What is long lies in a table of its own,
     * and has the name that it has there for a third value.
     * With `$alone` nothing else may be asked of the database meanwhile, and nothing is held in memory.
     */
    public function kvRows(?array $ids, bool $alone = false): \Generator
    {
        $database = $this->database();
        if (!$database->has($this->kvTable()) || $ids === []) {
            return;
        }
        $table = $database->quote($this->kvTable());
        $long = $database->has('kvblobstore')
            ? " , b.content, b.type FROM $table k LEFT JOIN kvblobstore b ON k.type = 'blob' AND b.uuid = k.val"
            : " , NULL, NULL FROM $table k";
        $marks = $ids === null ? '' : ' WHERE k.id IN (' . implode(', ', array_fill(0, count($ids), '?')) . ')';
        $sql = "SELECT k.id, k.`key`, k.val, k.type$long$marks ORDER BY k.id, k.`key`";
        $rows = $database->run($sql, $ids ?? [], $alone ? $database->alone() : []);
        while (($row = $rows->fetch(\PDO::FETCH_NUM)) !== false) {
            [$id, $key, $text, $type, $content, $of] = $row;
            if ($type === 'blob') {
                if ($content === null) {
                    throw new Fail("the long value $key of $id is not there", 'unreadable');
                }
                yield [[(string) $id, (string) $key], [$content, $of, $text]];
                continue;
            }
            yield [[(string) $id, (string) $key], [$text, $type]];
        }
    }

    /** Returns a stored value as the host would. */
    public static function kvValue(array $value)
    {
        [$text, $type] = [$value[0], $value[1]];
        if ($type === 'json-arr') {
            return json_decode($text, true);
        }
        return $type === 'json-obj' ? json_decode($text) : $text;
    }

    /** Puts entries in place of all that the module has: rows as kvRows gives them. */
    public function setKv(iterable $rows, callable $log): void
    {
        $database = $this->database();
        $table = $database->quote($this->kvTable());
        if (!$database->has($this->kvTable())) {
            $type = $database->pdo->getAttribute(\PDO::ATTR_DRIVER_NAME) === 'mysql' ? 'LONGBLOB' : 'TEXT';
            $database->run("CREATE TABLE $table (`key` VARCHAR(191) NOT NULL, val $type, type VARCHAR(16), id VARCHAR(191) NOT NULL, UNIQUE (`key`, id))");
        }
        $long = $database->has('kvblobstore');
        $entries = static function () use ($rows, $database, $long) {
            foreach ($rows as [$path, $value]) {
                if ($long && isset($value[2])) {
                    $database->run('REPLACE INTO kvblobstore (uuid, type, content) VALUES (?, ?, ?)', [$value[2], $value[1], $value[0]]);
                    $value = [$value[2], 'blob'];
                }
                yield ['id' => $path[0], 'key' => $path[1], 'val' => $value[0], 'type' => $value[1]];
            }
        };
        $database->atomic(function () use ($database, $table, $long, $entries, $log) {
            if ($long) {
                $database->run("DELETE FROM kvblobstore WHERE uuid IN (SELECT val FROM $table WHERE type = 'blob')");
            }
            $database->fill($this->kvTable(), $entries(), true, $log);
        });
    }

    /** Returns rows for entries as a module has them: id => (key => value). */
    public static function kvEntries(iterable $store): \Generator
    {
        foreach ($store as $id => $entries) {
            foreach ($entries as $key => $value) {
                $type = is_array($value) ? 'json-arr' : (is_object($value) ? 'json-obj' : null);
                yield [[(string) $id, (string) $key], [$type === null ? $value : json_encode($value), $type]];
            }
        }
    }

    private function switch()
    {
        $astman = $this->host->astman ?? null;
        if (!is_object($astman)) {
            throw new Fail('the host gives no way to the tree of the switch (astman)', 'setup');
        }
        return $astman;
    }

    /** Returns child => value below a family of the switch's tree. */
    public function tree(string $family): array
    {
        $entries = [];
        foreach ($this->switch()->database_show($family) as $path => $value) {
            $child = substr($path, strlen($family) + 2);
            if ($child !== false && $child !== '') {
                $entries[$child] = $value;
            }
        }
        return $entries;
    }

    /** Puts entries below families; both shapes that are known: a list of maps of families, and one such map. */
    public function setTree(iterable $data): void
    {
        foreach ($data as $family => $children) {
            if (is_int($family) && is_array($children) && !self::isChild($children)) {
                $this->setTree($children);
                continue;
            }
            foreach ($children as $child => $value) {
                if (is_array($value)) {
                    $this->setTree(["$family/$child" => $value]);
                } else {
                    $this->switch()->database_put((string) $family, (string) $child, $value);
                }
            }
        }
    }

    /** A family may have a number for its name: then what it holds are values, not families. */
    private static function isChild(array $children): bool
    {
        foreach ($children as $value) {
            if (!is_array($value)) {
                return true;
            }
        }
        return false;
    }
}
