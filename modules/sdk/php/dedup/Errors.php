<?php
namespace Dedup;

/** This is over: the engine failed, or broke off. An Error, so that `catch (\Exception $e)` of a module lets it pass. */
class Stop extends \Error
{
}

/** The engine wants this to stop. */
class Cancelled extends Stop
{
}

/** The engine answered a request with an error. */
class Refused extends \RuntimeException
{
    /** @var string */
    public $word;

    public function __construct(string $word, string $message)
    {
        parent::__construct("$message ($word)");
        $this->word = $word;
    }
}

/** The operation has failed: `throw new Fail('the database is down', 'connect', true)`. */
class Fail extends \RuntimeException
{
    /** @var string */
    public $word;
    /** @var bool whether it may succeed later */
    public $retry;

    public function __construct(string $message, string $word = 'internal', bool $retry = false)
    {
        parent::__construct($message);
        $this->word = $word;
        $this->retry = $retry;
    }
}

/** Leave this module out; only before anything was sent. */
class Skip extends \RuntimeException
{
}
