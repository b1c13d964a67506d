<?php
namespace Dedup;

/** The import of archives of the generation before 15, whose tables lie in a temporary database. */
trait Legacy
{
    /** @var array what processLegacy was given */
    private $legacy = ['manifest' => [], 'astdb' => [], 'settings' => [], 'features' => []];
    private $legacyTables = [];

    public function dedupLegacy(): void
    {
        $source = $this->dedupWith;
        if (!in_array('sqlite', \PDO::getAvailableDrivers(), true)) {
            throw new Fail('the extension pdo_sqlite is needed to read archives of this kind', 'setup');
        }
        $pdo = new \PDO('sqlite:' . Values::pathIn($source->begin['database']));
        $pdo->setAttribute(\PDO::ATTR_ERRMODE, \PDO::ERRMODE_EXCEPTION);
        $given = $source->allConfigs();
        $this->legacy = ['manifest' => $source->begin['manifest'] ?? []] + array_intersect_key($given, $this->legacy) + $this->legacy;
        if (isset($source->trees['astdb'])) {
            $this->legacy['astdb'] = $this->legacyTree($source->tree('astdb'));
        }
        $this->legacyTables = $source->begin['tables'] ?? [];
        $this->processLegacy($pdo, $this->legacy, $this->legacyTables, $source->begin['unknown_tables'] ?? []);
    }

    private function legacyTree(iterable $rows): array
    {
        $families = [];
        foreach ($rows as [$path, $value]) {
            $families[array_shift($path)][implode('/', $path)] = $value;
        }
        return $families;
    }

    /** To be overridden; a module that is not has no import of such archives. */
    public function processLegacy($pdo, $data, $tables, $unknownTables)
    {
        $this->log('the module takes nothing from archives of this kind', 'WARNING');
    }

    public function restoreLegacyAll(\PDO $pdo)
    {
        $this->restoreLegacyDatabase($pdo);
        $this->restoreLegacyKvstore($pdo);
        $this->restoreLegacyFeatureCodes($pdo);
        $this->restoreLegacySettings($pdo);
    }

    public function restoreLegacyDatabaseKvstore(\PDO $pdo)
    {
        $this->restoreLegacyDatabase($pdo);
        $this->restoreLegacyKvstore($pdo);
    }

    /** Takes the module's tables, or those that are named. */
    public function restoreLegacyDatabase(\PDO $pdo, $tables = [], $ignore = [])
    {
        $from = new Database($pdo);
        foreach (array_diff($tables ?: $this->legacyTables, $ignore) as $table) {
            if ($from->has($table)) {
                $this->addDataToTableFromArray($table, $from->pages($table));
            } else {
                $this->log("the archive has no table $table", 'WARNING');
            }
        }
    }

    /** Takes what featurecodes has of the module; below version 11 there is no text of help. */
    public function restoreLegacyFeatureCodes(\PDO $pdo)
    {
        $from = new Database($pdo);
        if ($from->has('featurecodes')) {
            $codes = [];
            $rows = $from->run('SELECT * FROM featurecodes WHERE modulename = ?', [$this->dedupPlatform()->module]);
            foreach ($rows->fetchAll(\PDO::FETCH_ASSOC) as $row) {
                $codes[$row['featurename']] = array_intersect_key($row, array_flip(Platform::CODES));
            }
            $this->importFeatureCodes($codes);
        }
    }

    public function restoreLegacySettings(\PDO $pdo)
    {
        $from = new Database($pdo);
        if ($from->has('freepbx_settings')) {
            $sql = 'SELECT keyword, value FROM freepbx_settings WHERE module = ?';
            $this->importAdvancedSettings($from->run($sql, [$this->dedupPlatform()->module])->fetchAll(\PDO::FETCH_KEY_PAIR));
        }
    }

    /** Takes the key-value store: from 14 on a table for each module, in 12 and 13 one with a column of modules, before it none. */
    public function restoreLegacyKvstore(\PDO $pdo)
    {
        $from = new Database($pdo);
        $module = $this->dedupPlatform()->module;
        $own = 'kvstore_FreePBX_modules_' . ucfirst($module);
        if ($from->has($own)) {
            $rows = $from->run("SELECT id, `key`, val, type FROM `$own`");
        } elseif ($from->has('kvstore')) {
            $rows = $from->run('SELECT id, `key`, val, type FROM kvstore WHERE module = ?', ['FreePBX\\modules\\' . ucfirst($module)]);
        } else {
            return;
        }
        $long = $from->has('kvblobstore');
        $entries = static function () use ($from, $rows, $long) {
            foreach ($rows->fetchAll(\PDO::FETCH_NUM) as [$id, $key, $text, $type]) {
                if ($type === 'blob' && $long) {
                    $found = $from->run('SELECT content, type FROM kvblobstore WHERE uuid = ?', [$text])->fetch(\PDO::FETCH_NUM);
                    [$text, $type] = $found ?: [null, null];
                }
                yield [[(string) $id, (string) $key], [$text, $type]];
            }
        };
        $this->dedupPlatform()->setKv($entries(), $this->dedupLog());
    }
}
