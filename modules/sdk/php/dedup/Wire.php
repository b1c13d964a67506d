<?php
namespace Dedup;

/**
 * Both pipes: frames, streams, credit. PHP has one thread: what comes is looked at whenever something is sent or awaited, and
 * where the extension pcntl is (as in Debian's php-cli), every few seconds meanwhile too.
 */
final class Wire
{
    const MAX_LINE = 1048576;
    const CREDIT = 4194304;
    const BLOCK = 65536;
    /** Bytes of rows in one line, about. */
    const ROWS = 65536;

    /** @var bool whether bytes travel as they are */
    public $raw = false;
    /** @var bool whether records may have keys */
    public $keyed = false;
    /** @var int seconds after which a sign of life is due */
    public $every = 60;
    private $in;
    private $out;
    private $held = '';
    /** @var int where in it what was not taken begins */
    private $at = 0;
    private $nextId = 0;
    private $nextS = 1;
    private $credit = [];
    private $answers = [];
    private $incoming = [];
    private $waiting = [];
    private $stopped = null;
    /** @var array credit that is granted when it is worth a line */
    private $granting = [];
    private $busy = false;
    private $holding = false;
    private $spoke = 0;

    public function __construct($in, $out)
    {
        $this->in = $in;
        $this->out = $out;
        stream_set_read_buffer($in, 0);
        stream_set_write_buffer($out, 0);
        $this->spoke = time();
    }

    /** Says that the module works, and hears whether it is to stop, whenever a signal comes. */
    public function watch(): void
    {
        if (!function_exists('pcntl_async_signals')) {
            return;
        }
        $period = max(1, min(5, $this->every));
        pcntl_async_signals(true);
        pcntl_signal(SIGALRM, function () use ($period) {
            pcntl_alarm($period);
            if (!$this->busy) {
                $this->look();
                if (time() - $this->spoke >= $this->every) {
                    $this->send(['t' => 'alive']);
                }
            }
        });
        pcntl_alarm($period);
    }

    /** Ends that. */
    public function rest(): void
    {
        if (function_exists('pcntl_alarm')) {
            pcntl_alarm(0);
        }
    }

    public function send(array $message, ?string $body = null): void
    {
        $line = json_encode($message, Values::JSON);
        if (strlen($line) >= self::MAX_LINE) {
            throw new \LengthException("a message of type {$message['t']} has " . strlen($line) . ' bytes: too many for a line');
        }
        $this->write($body === null ? $line . "\n" : $line . "\n" . $body . "\n");
    }

    private function write(string $frame): void
    {
        $was = $this->busy;
        $this->busy = true;
        $this->spoke = time();
        $at = 0;
        $failed = 0;
        $length = strlen($frame);
        while ($at < $length) {
            $count = @fwrite($this->out, $at === 0 ? $frame : substr($frame, $at));
            if ($count === false || $count === 0) {
                // A signal may have come in between; a pipe that nobody reads stays broken.
                if (++$failed > 3) {
                    $this->busy = $was;
                    throw new Stop('the engine broke off');
                }
                continue;
            }
            $failed = 0;
            $at += $count;
        }
        $this->busy = $was;
    }

    /** Reads the next message; the bytes of a raw frame are put into it as `bytes`. */
    public function line(): array
    {
        $searched = 0;
        while (($end = strpos($this->held, "\n", $this->at + $searched)) === false) {
            $searched = strlen($this->held) - $this->at;
            if ($searched > self::MAX_LINE) {
                throw new Stop('the engine sent a line that is too long');
            }
            $this->fill();
        }
        $line = substr($this->held, $this->at, $end - $this->at);
        $this->at = $end + 1;
        try {
            $message = json_decode($line, true, 512, JSON_THROW_ON_ERROR);
        } catch (\JsonException $error) {
            throw new Stop('what the engine says makes no sense: ' . $error->getMessage());
        }
        $message['cost'] = strlen($line);
        if ($message['t'] === 'raw') {
            $n = $message['n'];
            while (strlen($this->held) - $this->at <= $n) {
                $this->fill();
            }
            $message['bytes'] = substr($this->held, $this->at, $n);
            if ($this->held[$this->at + $n] !== "\n") {
                throw new Stop('a raw frame of the engine has another length');
            }
            $this->at += $n + 1;
        } elseif ($message['t'] === 'chunk') {
            $message['bytes'] = base64_decode($message['b64'], true);
        }
        return $message;
    }

    /** Reads more; what was taken is let go of. */
    private function fill(): void
    {
        do {
            $data = @fread($this->in, self::BLOCK);
            if (($data === false || $data === '') && feof($this->in)) {
                throw new Stop('the engine broke off');
            }
        } while ($data === false || $data === '');
        $this->held = substr($this->held, $this->at) . $data;
        $this->at = 0;
    }

    private function hasInput(): bool
    {
        if (strpos($this->held, "\n", $this->at) !== false) {
            return true;
        }
        $read = [$this->in];
        $none = null;
        return @stream_select($read, $none, $none, 0) === 1;
    }

    /** Takes what has come by now, without waiting for more. */
    public function look(): void
    {
        if ($this->stopped !== null) {
            throw $this->stopped;
        }
        if (!$this->busy) {
            while ($this->hasInput()) {
                $this->pump();
            }
        }
    }

    /** Takes one message and keeps it for whoever waits for it. */
    private function pump(): void
    {
        if ($this->stopped !== null) {
            throw $this->stopped;
        }
        $was = $this->busy;
        $this->busy = true;
        try {
            $message = $this->line();
            $this->deliver($message);
        } catch (Stop $why) {
            $this->stopped = $why;
            throw $why;
        } finally {
            $this->busy = $was;
        }
    }

    private function deliver(array $message): void
    {
        $kind = $message['t'];
        $s = $message['s'] ?? null;
        if ($kind === 'cancel') {
            throw new Cancelled($message['why'] ?? 'cancelled');
        }
        if ($kind === 'error' && !empty($message['fatal'])) {
            throw new Stop(($message['msg'] ?? '') . ' (' . ($message['code'] ?? '') . ')');
        }
        if ($kind === 'credit') {
            if (isset($this->credit[$s])) {
                $this->credit[$s] += $message['n'];
            }
        } elseif (isset($message['id'])) {
            if (in_array($kind, ['blob', 'records', 'tree'], true)) {
                $this->incoming[$s] = [];
            }
            $this->answers[$message['id']] = $message;
        } elseif ($s !== null && isset($this->incoming[$s])) {
            if ($this->holding && !in_array($kind, ['end', 'error'], true)) {
                $this->grant($s, $this->cost($message));
                $message['granted'] = true;
            }
            $this->incoming[$s][] = $message;
        } elseif (in_array($kind, ['begin', 'configs', 'have'], true)) {
            $this->waiting[] = $message;
        } elseif ($kind !== 'error') {
            $must = !empty($message['must']);
            $error = ['t' => 'error', 'code' => 'unsupported', 'msg' => substr($kind, 0, 100), 'fatal' => $must];
            $this->send($error);
            if ($must) {
                throw new Stop('the engine needs ' . $kind);
            }
        }
    }

    /** Returns the next message of this type that answers nothing. */
    public function next(string $kind): array
    {
        while ($this->waiting === []) {
            $this->pump();
        }
        $message = array_shift($this->waiting);
        if ($message['t'] !== $kind) {
            throw new Stop("the engine says {$message['t']} in place of $kind");
        }
        return $message;
    }

    /** Sends a request and returns its answer; an error is thrown. */
    public function ask(array $message): array
    {
        $id = ++$this->nextId;
        $message['id'] = $id;
        $this->send($message);
        // A stream that is being read must not stand in the way of the answer: what comes of it meanwhile is held.
        $was = $this->holding;
        $this->holding = true;
        try {
            while (!isset($this->answers[$id])) {
                $this->pump();
            }
        } finally {
            $this->holding = $was;
        }
        $answer = $this->answers[$id];
        unset($this->answers[$id]);
        if ($answer['t'] === 'error') {
            throw new Refused($answer['code'] ?? 'internal', $answer['msg'] ?? '');
        }
        return $answer;
    }

    /** Opens a stream; returns its number. */
    public function open(array $message): int
    {
        $this->look();
        $s = $this->nextS;
        $this->nextS += 2;
        $message['s'] = $s;
        $this->credit[$s] = self::CREDIT;
        $this->send($message);
        return $s;
    }

    /** Ends a stream. */
    public function close(int $s, array $message): void
    {
        $message['s'] = $s;
        $this->send($message);
        unset($this->credit[$s]);
    }

    /** Waits until so much may be sent. */
    private function spend(int $s, int $cost): void
    {
        if ($this->stopped !== null) {
            throw $this->stopped;
        }
        while ($this->credit[$s] < $cost) {
            $this->pump();
        }
        $this->credit[$s] -= $cost;
    }

    public function sendBytes(int $s, string $data): void
    {
        for ($at = 0, $length = strlen($data); $at < $length; $at += self::BLOCK) {
            $part = $length <= self::BLOCK ? $data : substr($data, $at, self::BLOCK);
            $this->spend($s, strlen($part));
            // Nothing in it needs a look by json_encode.
            if ($this->raw) {
                $this->write('{"t":"raw","s":' . $s . ',"n":' . strlen($part) . "}\n" . $part . "\n");
            } else {
                $this->write('{"t":"chunk","s":' . $s . ',"b64":"' . base64_encode($part) . "\"}\n");
            }
        }
    }

    /** Sends rows, each in JSON already. */
    public function sendRows(int $s, array $rows): void
    {
        $line = '{"t":"rows","s":' . $s . ',"v":[' . implode(',', $rows) . ']}';
        if (strlen($line) >= self::MAX_LINE) {
            throw new \LengthException('a row has ' . strlen($line) . ' bytes: too many for a line');
        }
        $this->spend($s, strlen($line));
        $this->write($line . "\n");
    }

    /** Yields the frames of a stream of the engine until its end, which must be right. */
    public function frames(int $s): \Generator
    {
        $digest = hash_init('sha256');
        $bytes = $rows = 0;
        while (true) {
            while (($this->incoming[$s] ?? []) === []) {
                $this->pump();
            }
            $message = array_shift($this->incoming[$s]);
            $kind = $message['t'];
            if ($kind === 'raw' || $kind === 'chunk') {
                hash_update($digest, $message['bytes']);
                $bytes += strlen($message['bytes']);
                yield $message['bytes'];
                $this->grant($s, $this->cost($message));
            } elseif ($kind === 'row') {
                $rows++;
                yield Values::decode($message['v']);
                $this->grant($s, $this->cost($message));
            } elseif ($kind === 'end') {
                unset($this->incoming[$s], $this->granting[$s]);
                if (isset($message['count']) && $message['count'] !== $rows) {
                    throw new Stop('a stream of the engine has another number of rows');
                }
                $right = !isset($message['bytes'])
                    || $message['bytes'] === $bytes && $message['sha256'] === hash_final($digest);
                if (!$right) {
                    throw new Stop('a stream of the engine has another length or digest');
                }
                return;
            } else {
                throw new Stop('a stream of the engine broke off: ' . ($message['msg'] ?? ''));
            }
        }
    }

    /** Returns what a frame costs that was not paid for yet. */
    private function cost(array $message): int
    {
        if (isset($message['granted'])) {
            return 0;
        }
        return isset($message['bytes']) ? strlen($message['bytes']) : $message['cost'];
    }

    private function grant(int $s, int $cost): void
    {
        $this->granting[$s] = ($this->granting[$s] ?? 0) + $cost;
        if ($this->granting[$s] >= self::CREDIT / 4) {
            $this->send(['t' => 'credit', 's' => $s, 'n' => $this->granting[$s]]);
            $this->granting[$s] = 0;
        }
    }

    /** Reads what is left of streams that were not read to their end. */
    public function drain(): void
    {
        foreach (array_keys($this->incoming) as $s) {
            while (isset($this->incoming[$s])) {
                while ($this->incoming[$s] === []) {
                    $this->pump();
                }
                $message = array_shift($this->incoming[$s]);
                if ($message['t'] === 'end' || $message['t'] === 'error') {
                    unset($this->incoming[$s]);
                } else {
                    $this->grant($s, $this->cost($message));
                }
            }
        }
    }
}
