<?php
namespace FreePBX\modules\Voicemail;

require getenv('SDK') . '/dedup/autoload.php';

class Backup extends \Dedup\BackupBase
{
    public function runBackup($id, $transaction)
    {
        $spool = getenv('PBX') . '/spool';
        $this->addDirectories(["$spool/empty/"]);
        $this->addSplFile(new \SplFileInfo("$spool/601/greeting.wav"));
        $this->addFile('msg0000.txt', '__SPOOL__/601/', 'SPOOL', 'message');
        $this->addFile('gone.txt', "$spool/601", '', 'message');
        file_put_contents($this->tmpdir . '/made', 'while it ran');
        $this->addGarbage($this->tmpdir . '/made');
        $this->addConfig('users', ['601' => ['pin' => '0123', 'empty' => '']]);
        $this->addConfig('zero', 0);
    }
}

class Restore extends \Dedup\RestoreBase
{
    public function runRestore()
    {
        $got = ['users' => $this->getConfigs()['users'], 'zero' => $this->getConfigs()['zero'], 'dirs' => $this->getDirectories()];
        foreach ($this->getFiles() as $file) {
            $in = $this->tmpdir . '/files' . $file->getPathTo() . '/' . $file->getFilename();
            $got['files'][] = [$file->getFilename(), $file->getType(), $file->getBase(), is_file($in) ? file_get_contents($in) : null];
        }
        file_put_contents(getenv('PBX') . '/mail.json', json_encode($got));
        if (is_file(getenv('PBX') . '/ask')) {
            $this->backupObj->restoreFromCloud();
        }
        if (is_file(getenv('PBX') . '/old')) {
            $this->restoreDataFromDump('cdr');
        }
    }
}

\Dedup\Module::freepbx([
    'name' => 'Voicemail', 'version' => '16', 'backup' => Backup::class, 'restore' => Restore::class, 'bootstrap' => __DIR__ . '/host.php',
]);
