<?php
namespace FreePBX\modules\Everything;

require getenv('SDK') . '/dedup/autoload.php';

/** What a module of FreePBX calls, by its name, and what each call was seen to do: below PBX in did-OPERATION.json. */
trait Seen
{
    private $did = [];

    /** Notes what a call did. */
    private function did(string $name, $what): void
    {
        $this->did[$name] = $what;
        $file = getenv('PBX') . '/did-' . static::OF . '.json';
        file_put_contents($file, json_encode($this->did, JSON_THROW_ON_ERROR));
    }

    /** Asks the host's own database. */
    private function rows(string $sql): array
    {
        return $this->FreePBX->Database->query($sql)->fetchAll(\PDO::FETCH_NUM);
    }

    private function clear(): void
    {
        foreach (['everything_a', 'everything_b', 'kvstore_FreePBX_modules_Everything'] as $table) {
            $this->FreePBX->Database->exec("DELETE FROM $table");
        }
        $this->FreePBX->Database->exec("DELETE FROM featurecodes WHERE modulename = 'everything'");
        $this->FreePBX->Database->exec("UPDATE freepbx_settings SET value = 'cleared' WHERE module = 'everything'");
    }

    /** What is there of tables, key-value store, feature codes and settings. */
    private function state(): array
    {
        return [
            $this->rows('SELECT a, b FROM everything_a ORDER BY a'),
            $this->rows('SELECT id, `key`, val, type FROM kvstore_FreePBX_modules_Everything ORDER BY id, `key`'),
            $this->rows("SELECT featurename, defaultcode FROM featurecodes WHERE modulename = 'everything' ORDER BY featurename"),
            $this->rows("SELECT keyword, value FROM freepbx_settings WHERE module = 'everything' ORDER BY keyword"),
        ];
    }
}

class Backup extends \Dedup\BackupBase
{
    use Seen;
    const OF = 'export';

    public function runBackup($id, $transaction)
    {
        $this->did('runBackup', [$id !== '' && is_string($id), $id === $transaction]);
        $this->did('FreePBX', $this->rows("SELECT COUNT(*) FROM everything_a"));
        $this->did('tmpdir', [is_dir($this->tmpdir), decoct(fileperms($this->tmpdir) & 0777)]);
        $this->backupObj->log('by the engine', 'WARNING');
        $this->did('backupObj', isset($this->backupObj));

        $settings = $this->dumpAdvancedSettings();
        $codes = $this->dumpFeatureCodes();
        $tables = $this->dumpTables();
        $kv = $this->dumpKVStore();
        $this->did('dumpAdvancedSettings', $settings);
        $this->did('dumpFeatureCodes', $codes);
        // What is lazy can be indexed, counted and gone through.
        $this->did('dumpTables', [array_keys($tables), count($tables['everything_a']), $tables['everything_a'][1]['b'], isset($tables['everything_b'][0])]);
        $this->did('dumpKVStore', [count($kv), $kv['7'], iterator_to_array($kv)['noid']]);
        $all = $this->dumpAll();
        $this->did('dumpAll', [array_keys($all), $all['settings'] === $settings, $all['features'] === $codes,
            array_keys($all['tables']) === array_keys($tables), iterator_to_array($all['kvstore']) == iterator_to_array($kv)]);

        $this->addConfig('lost', 'addConfigs replaces it');
        $this->addConfigs(['all' => $all, 'empty' => []]);
        $this->addConfig('more', ['one' => 1]);
        $this->addDependency('Core');
        $this->addDirectories([getenv('PBX') . '/spool/empty']);
        $this->addFile('greeting.wav', getenv('PBX') . '/spool/601', 'SPOOL', 'prompt');
        $this->addSplFile(new \SplFileInfo(getenv('PBX') . '/spool/601/msg0000.txt'));
    }
}

class Restore extends \Dedup\RestoreBase
{
    use Seen;
    const OF = 'import';

    public function runRestore()
    {
        $configs = $this->getConfigs();
        $this->did('runRestore', true);
        $this->did('getConfigs', [array_keys($configs), $configs['empty'], $configs['more'], $configs['all']['tables']['everything_a'][0]['b']]);
        $this->did('getFiles', array_map(static function ($file) {
            return [$file->getFilename(), $file->getType(), $file->getBase(), $file->getContents()];
        }, $this->getFiles()));
        $this->did('getDirectories', array_map('basename', $this->getDirectories()));
        $this->did('getDependencies', $this->getDependencies());
        $this->did('getVersion', $this->getVersion());

        $this->clear();
        $this->importAll($configs['all']);
        $this->did('importAll', $this->state());
        $this->clear();
        $this->importAdvancedSettings(['EVERYTHING_ON' => 'set', 'EVERYTHING_NEW' => '']);
        $this->did('importAdvancedSettings', $this->state());
        $this->clear();
        $this->importFeatureCodes(['one' => ['description' => 'One', 'helptext' => '', 'defaultcode' => '*1', 'customcode' => null, 'enabled' => 1, 'providedest' => 0]]);
        $this->did('importFeatureCodes', $this->state());
        // Empty is a value: those that were there go.
        $this->importFeatureCodes([]);
        $this->did('importFeatureCodes of none', $this->state()[2]);
        $this->clear();
        $this->importKVStore(['noid' => ['k' => 'v', 'list' => [1]], '7' => ['zero' => '0']]);
        $this->did('importKVStore', $this->state());
        $this->clear();
        $this->importTables(['everything_a' => [['a' => 'x', 'b' => 'y']], 'everything_b' => []]);
        $this->did('importTables', $this->state());
        $this->addDataToTableFromArray('everything_a', [['a' => 'p', 'b' => null, 'gone' => 'column']]);
        $this->did('addDataToTableFromArray', $this->state()[0]);
        $this->addDataToTableFromArray('everything_a', [['a' => 'q', 'b' => '1']], false);
        $this->did('addDataToTableFromArray without delete', $this->state()[0]);
        $this->importAstDB([['FAMILY' => ['1/a' => 'x']]]);
        $this->importAstDB(['FAMILY' => ['2/b' => 'y']]);
        $this->did('importAstDB', $this->FreePBX->astman->database_show('FAMILY'));
    }

    public function reset()
    {
        foreach (['EMERGENCY', 'ALERT', 'CRITICAL', 'ERROR', 'WARNING', 'NOTICE', 'INFO', 'DEBUG', 'NEVER HEARD OF'] as $level) {
            $this->log("said as $level", $level);
        }
        $this->log('said as nothing');
        $this->clear();
    }

    public function processLegacy($pdo, $data, $tables, $unknownTables)
    {
        $this->did('processLegacy', [$data['manifest'], $tables, $unknownTables]);
        foreach (['All', 'Database', 'Kvstore', 'FeatureCodes', 'Settings', 'DatabaseKvstore'] as $part) {
            $this->clear();
            $before = $this->state();
            $this->{"restoreLegacy$part"}($pdo);
            $after = $this->state();
            $this->did("restoreLegacy$part", array_map(static function ($before, $after) {
                return $before === $after ? 'as it was' : $after;
            }, $before, $after));
        }
    }
}

\Dedup\Module::freepbx([
    'name' => 'Everything', 'version' => '15.0.1', 'backup' => Backup::class, 'restore' => Restore::class, 'bootstrap' => __DIR__ . '/host.php',
]);
