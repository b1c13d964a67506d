<?php
namespace FreePBX\modules\Queues;

require getenv('SDK') . '/dedup/autoload.php';

use Dedup as Base;

class Backup extends Base\BackupBase
{
    public function runBackup($id, $transaction)
    {
        $this->log('backing up ' . count($this->dumpTables()['queues_config']) . ' queues', 'NOTICE');
        $this->addDependency('core');
        $this->addDependency('');
        $this->addDependency('framework');
        $this->addConfigs([
            'tables' => $this->dumpTables(),
            'kvstore' => $this->dumpKVStore(),
            'settings' => $this->dumpAdvancedSettings(),
            'features' => $this->dumpFeatureCodes(),
            'astdb' => $this->dumpAstDB('QPENALTY'),
            'nothing' => [],
            'first' => $this->dumpTables()['queues_config'][0]['extension'],
            'long' => array_fill(0, 40000, 'a list that is too long for one entry'),
        ]);
        system('echo a command prints this');
    }
}

class Restore extends Base\RestoreBase
{
    public function runRestore()
    {
        $configs = $this->getConfigs();
        $this->importAll($configs);
        $this->importAstDB($configs['astdb']);
        $this->importAstDB(['OTHER' => ['1/deep' => 'shape']]);
        // Two dumps that are read at once do not wait for each other.
        $seen = [0, 0];
        foreach ($configs['tables']['queues_details'] as $row) {
            $seen[1] += $seen[0]++ % 10000 === 0 ? count($configs['tables']['queues_config']) : 0;
        }
        file_put_contents(getenv('PBX') . '/got.json', json_encode([
            'version' => $this->getVersion(), 'dependencies' => $this->getDependencies(), 'first' => $configs['first'],
            'nothing' => $configs['nothing'], 'long' => count($configs['long']), 'seen' => $seen,
            'third' => $configs['tables']['queues_config'][1]['descr'], 'kv' => $configs['kvstore']['601'],
        ]));
    }

    public function reset()
    {
        $this->FreePBX->Database->exec('DELETE FROM queues_config');
        $this->FreePBX->Database->exec("INSERT INTO queues_config (extension, descr) VALUES ('reset', 'made by it')");
    }

    public function processLegacy($pdo, $data, $tables, $unknownTables)
    {
        $this->log('version ' . $data['manifest']['version'] . ', not known: ' . implode(',', $unknownTables), 'NOTICE');
        $this->restoreLegacyAll($pdo);
        $this->importAstDB([['QPENALTY' => $data['astdb']['QPENALTY']]]);
    }
}

Base\Module::freepbx([
    'name' => 'Queues', 'version' => '16.0.27', 'backup' => Backup::class, 'restore' => Restore::class,
    'bootstrap' => __DIR__ . '/host.php', 'tables' => ['agents', 'not_there'], 'secrets' => ['settings'],
]);
