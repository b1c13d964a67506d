<?php
namespace Dedup;

/**
 * A module. Give it the operations it has, as methods: `export(Export $out)`, `import(Import $source)`, `check`, `reset`,
 * `legacy`, `revert`, `run`, and call `Module::main(new Example())`. What it does not have is refused for it.
 *
 *     class Queue extends \Dedup\Module
 *     {
 *         public $name = 'ringqueue', $version = '1', $needs = 'live';
 *
 *         public function export(\Dedup\Export $out)
 *         {
 *             $out->config('strategy', 'ringall');
 *             $out->records('queues', ['id', 'name'], [[601, 'Sales']]);
 *         }
 *     }
 */
abstract class Module
{
    const SKIP = 75, PROTOCOL = 76, VERSION = 78;
    const OPERATIONS = ['export', 'import', 'check', 'reset', 'legacy', 'revert', 'run'];

    public $name = 'module';
    public $version = '0';
    /** @var string live: while its services run; stopped: while they do not; either */
    public $needs = 'either';

    /** Returns the operations it has, beside describe. */
    public function operations(): array
    {
        return array_values(array_filter(self::OPERATIONS, function ($op) {
            return method_exists($this, $op);
        }));
    }

    /** Does one; `$with` is an Export, or an Import for all others. */
    public function operate(string $op, Common $with): void
    {
        $this->{$op}($with);
    }

    /** Speaks the protocol for a module, and exits. */
    public static function main(Module $module): void
    {
        [$in, $out] = self::pipes();
        exit(self::serve($module, new Wire($in, $out)));
    }

    /** Speaks for classes that derive from BackupBase and RestoreBase; see README.md of the SDKs. */
    public static function freepbx(array $options): void
    {
        self::main(new Base($options));
    }

    /**
     * Puts the pipes of the protocol aside, so that nothing that a module, or a program it calls, prints or reads gets between
     * the frames. PHP cannot do that with its own descriptors; a shell does, and starts PHP again.
     */
    private static function pipes(): array
    {
        if (getenv('DEDUP_PIPES') !== (string) getmypid()) {
            $line = @file_get_contents('/proc/self/cmdline');
            if ($line !== false && $line !== '' && function_exists('pcntl_exec') && is_executable('/bin/sh')) {
                $arguments = explode("\0", substr($line, 0, -1));
                $arguments[0] = PHP_BINARY;
                $script = 'exec 3<&0 4>&1 0</dev/null 1>&2; exec "$@"';
                pcntl_exec('/bin/sh', array_merge(['-c', $script, 'sh'], $arguments), ['DEDUP_PIPES' => getmypid()] + getenv());
            }
            // What PHP itself prints can be kept apart even so.
            ob_start(static function ($text) {
                fwrite(STDERR, $text);
                return '';
            }, 1);
            return [STDIN, STDOUT];
        }
        putenv('DEDUP_PIPES');
        return [fopen('php://fd/3', 'r'), fopen('php://fd/4', 'w')];
    }

    /** Speaks; returns the exit status. */
    public static function serve(Module $module, Wire $wire): int
    {
        try {
            $hello = $wire->line();
        } catch (\Throwable $error) {
            fwrite(STDERR, "this program speaks the line protocol of dedup; `dedup module check DIR` tries it\n");
            return self::PROTOCOL;
        }
        if ($hello['t'] === 'cancel') {
            $wire->send(['t' => 'cancelled']);
            return 0;
        }
        if (!in_array(1, $hello['protocols'], true)) {
            $wire->send(['t' => 'error', 'code' => 'version', 'supported' => [1], 'fatal' => true]);
            return self::VERSION;
        }
        $op = $hello['op'];
        $ops = array_merge(['describe'], $module->operations());
        if (!in_array($op, $ops, true)) {
            $wire->send(['t' => 'error', 'code' => 'unsupported', 'msg' => "there is no operation $op", 'fatal' => true]);
            return 0;
        }
        $features = array_values(array_intersect(['raw', 'keyed'], $hello['features'] ?? []));
        $wire->raw = in_array('raw', $features, true);
        $wire->keyed = in_array('keyed', $features, true);
        $wire->send(['t' => 'hello', 'protocol' => 1, 'features' => $features, 'name' => $module->name,
            'version' => (string) $module->version, 'needs' => $module->needs, 'ops' => $ops]);
        $idle = $hello['limits']['idle'] ?? 0;
        $wire->every = $idle > 0 ? max(1, intdiv($idle, 10)) : 60;
        return self::guarded($module, $wire, $op, $hello);
    }

    private static function guarded(Module $module, Wire $wire, string $op, array $hello): int
    {
        try {
            $wire->watch();
            if ($op === 'export') {
                $with = new Export($wire, $hello);
            } else {
                $with = new Import($wire, $hello);
                $with->listen($op);
            }
            if ($op !== 'describe') {
                $module->operate($op, $with);
            }
            $wire->drain();
            $wire->look();
            $wire->rest();
            $wire->send(['t' => 'done']);
            return 0;
        } catch (Skip $skip) {
            $wire->rest();
            return self::SKIP;
        } catch (Cancelled $why) {
            $wire->rest();
            $wire->send(['t' => 'cancelled']);
            return 0;
        } catch (Stop $why) {
            $wire->rest();
            fwrite(STDERR, 'stopped: ' . $why->getMessage() . "\n");
            return self::PROTOCOL;
        } catch (\Throwable $error) {
            $wire->rest();
            return self::failed($wire, $error);
        }
    }

    private static function failed(Wire $wire, \Throwable $error): int
    {
        $code = $error instanceof Fail || $error instanceof Refused ? $error->word : 'internal';
        $text = $error->getMessage();
        if (!$error instanceof Fail) {
            fwrite(STDERR, $error . "\n");
            $text = get_class($error) . ': ' . $text;
        }
        $text = Common::text($text, 2000);
        $retry = $error instanceof Fail && $error->retry;
        try {
            $wire->send(['t' => 'error', 'code' => $code, 'msg' => $text, 'fatal' => true, 'retry' => $retry]);
        } catch (Stop $why) {
            return self::PROTOCOL;
        }
        return 1;
    }
}
