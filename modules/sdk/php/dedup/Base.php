<?php
namespace Dedup;

/**
 * A module made of classes that derive from BackupBase and RestoreBase. Options:
 *
 *     name       the module's name as FreePBX has it: Queues
 *     version    of the module
 *     backup     the class that derives from BackupBase
 *     restore    the class that derives from RestoreBase
 *     bootstrap  the file that makes the host, '/etc/freepbx.conf'; or a function that returns it
 *     needs      live (its services run; default), stopped, either
 *     tables     tables that the module's descriptor lists, beside those that have its name
 *     secrets    keys of its configuration that are secret
 *     fallback   true: a module without a runBackup of its own stores what dumpAll finds
 */
final class Base extends Module
{
    /** @var array */
    public $options;
    private $host = null;

    public function __construct(array $options)
    {
        $this->options = $options + ['bootstrap' => '/etc/freepbx.conf', 'tables' => [], 'secrets' => [], 'fallback' => false];
        $this->name = $options['name'];
        $this->version = $options['version'];
        $this->needs = $options['needs'] ?? 'live';
    }

    public function operations(): array
    {
        $ops = isset($this->options['backup']) ? ['export'] : [];
        if (isset($this->options['restore'])) {
            $ops[] = 'import';
            foreach (['reset' => 'reset', 'processLegacy' => 'legacy'] as $method => $op) {
                $of = (new \ReflectionMethod($this->options['restore'], $method))->getDeclaringClass()->getName();
                if ($of !== RestoreBase::class) {
                    $ops[] = $op;
                }
            }
        }
        return $ops;
    }

    public function operate(string $op, Common $with): void
    {
        $class = $this->options[$op === 'export' ? 'backup' : 'restore'];
        $object = new $class($this, $with);
        $object->{'dedup' . ucfirst($op)}();
    }

    /** Returns the host, which is made when somebody first asks. */
    public function host()
    {
        if ($this->host === null) {
            $bootstrap = $this->options['bootstrap'];
            $this->host = is_string($bootstrap) && is_file($bootstrap) ? self::load($bootstrap) : (is_callable($bootstrap) ? $bootstrap() : null);
            if (!is_object($this->host)) {
                $name = is_string($bootstrap) ? $bootstrap : 'the bootstrap';
                throw new Fail("$name makes no host", 'setup');
            }
        }
        return $this->host;
    }

    /** The variables of FreePBX's bootstrap are global ones. */
    private static function load(string $bootstrap)
    {
        global $amp_conf, $asterisk_conf, $bootstrap_settings, $db, $astman, $amportal_conf, $restrict_mods, $active_modules;
        $bootstrap_settings = ['freepbx_auth' => false];
        $made = require $bootstrap;
        if (is_object($made)) {
            return $made;
        }
        return class_exists('FreePBX', false) ? \FreePBX::create() : null;
    }
}

/** What exporters and importers have in common. */
abstract class Surface
{
    /** What FreePBX's classes can do and these cannot, and what does it here. */
    const UNSUPPORTED = [
        'dumpTableIntoFile' => 'declare a [[source]] of driver mariadb in the manifest',
        'restoreDataFromDump' => 'declare a [[source]] of driver mariadb in the manifest',
        'getCliarguments' => 'nothing is handed through from the command line; use env of [importer] in the manifest',
        'addGarbages' => 'put what is temporary below $this->tmpdir',
        'setData' => 'the engine keeps what is stored',
        'getData' => 'getConfigs, getFiles, getDirectories and getDependencies have it',
        'setConfigs' => 'addConfigs does that',
        'setDirs' => 'addDirectories does that',
        'setFiles' => 'addFile does that',
        'setDependencies' => 'addDependency does that',
    ];

    /** @var Base */
    protected $dedupBase;
    /** @var Common */
    protected $dedupWith;
    private $dedupKept = [];

    public function __construct(Base $base, Common $with)
    {
        $this->dedupBase = $base;
        $this->dedupWith = $with;
    }

    /** FreePBX: the host. backupObj: the engine. tmpdir: a directory of this operation. */
    public function __get(string $name)
    {
        if (!array_key_exists($name, $this->dedupKept)) {
            switch ($name) {
                case 'FreePBX':
                case 'freepbx':
                    $this->dedupKept[$name] = $this->dedupBase->host();
                    break;
                case 'backupObj':
                    $this->dedupKept[$name] = new Engine($this);
                    break;
                case 'tmpdir':
                    $this->dedupKept[$name] = $this->dedupDirectory();
                    break;
                default:
                    throw new \BadMethodCallException(static::class . " has no property $name by this SDK");
            }
        }
        return $this->dedupKept[$name];
    }

    public function __isset(string $name): bool
    {
        return in_array($name, ['FreePBX', 'freepbx', 'backupObj', 'tmpdir'], true);
    }

    public function __call(string $name, array $arguments)
    {
        self::unsupported($name);
    }

    public static function unsupported(string $name): void
    {
        foreach (self::UNSUPPORTED as $known => $instead) {
            if (strcasecmp($known, $name) === 0) {
                throw new Fail("$known() is not supported: $instead", 'not-supported');
            }
        }
        throw new Fail("$name() is not known to this SDK", 'not-supported');
    }

    protected function dedupDirectory(): string
    {
        return $this->dedupWith->scratch();
    }

    protected function dedupPlatform(): Platform
    {
        if (!isset($this->dedupKept[':platform'])) {
            $options = $this->dedupBase->options;
            $this->dedupKept[':platform'] = new Platform($this->dedupBase->host(), $options['name'], $options['tables']);
        }
        return $this->dedupKept[':platform'];
    }

    protected function dedupLog(): callable
    {
        return function (string $message, string $level) {
            $this->log($message, $level);
        };
    }

    /** EMERGENCY, ALERT, CRITICAL, ERROR, WARNING, NOTICE, INFO or DEBUG. */
    public function log($message = '', $level = 'INFO')
    {
        $this->dedupWith->log(is_string($message) ? $message : print_r($message, true), (string) $level);
    }
}

/** What stands for the engine of FreePBX's backup module. */
final class Engine
{
    private $surface;

    public function __construct(Surface $surface)
    {
        $this->surface = $surface;
    }

    public function log($message = '', $level = 'INFO')
    {
        $this->surface->log($message, $level);
    }

    public function __call(string $name, array $arguments)
    {
        Surface::unsupported("backupObj->$name");
    }
}
