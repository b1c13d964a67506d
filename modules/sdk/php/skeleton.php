#!/usr/bin/env php
<?php
/** A module of dedup: what it gives when it is backed up, and what it does with it when it is restored. */

require __DIR__ . '/dedup/autoload.php';

class Example extends \Dedup\Module
{
    public $name = 'example', $version = '1';
    /** live: while its services run; stopped: while they do not; either. */
    public $needs = 'either';

    public function export(\Dedup\Export $out): void
    {
        $out->config('greeting', 'hello');
        $state = $out->blob('state');
        $state->write("whatever belongs to it\n");
        $state->close();
        $out->records('queues', ['id', 'name'], [[601, 'Sales'], [602, 'Help']], ['primary' => ['id']]);
    }

    /** Says no, by `throw new \Dedup\Fail(…)`, before anything is touched; changes nothing. */
    public function check(\Dedup\Import $source): void
    {
        $source->take('config');
        $source->take('blob');
        $source->take('records');
    }

    public function import(\Dedup\Import $source): void
    {
        $greeting = $source->config('greeting');
        $state = implode('', iterator_to_array($source->blob('state'), false));
        $queues = iterator_to_array($source->records('queues'), false);
        $source->log(sprintf('%s: %d bytes, %d queues', $greeting, strlen($state), count($queues)), 'notice');
    }
}

\Dedup\Module::main(new Example());
