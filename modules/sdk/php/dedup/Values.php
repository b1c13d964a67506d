<?php
namespace Dedup;

/** Bytes, where text would be meant otherwise. */
final class Bytes
{
    /** @var string */
    public $bytes;

    public function __construct(string $bytes)
    {
        $this->bytes = $bytes;
    }
}

/** A decimal number, as text. */
final class Decimal
{
    /** @var string */
    public $text;

    public function __construct(string $text)
    {
        $this->text = $text;
    }

    public function __toString(): string
    {
        return $this->text;
    }
}

/**
 * Values as PROTOCOL.md 5 writes them. Strings that are not UTF-8 are kept byte by byte. An array with the keys 0, 1, 2 … is a
 * list, any other a map: PHP cannot tell them apart, and reads both back as the same array.
 */
final class Values
{
    const MAX_NUMBER = 9007199254740991;
    const JSON = JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_PRESERVE_ZERO_FRACTION | JSON_THROW_ON_ERROR;
    const TIMES = 'Y-m-d H:i:s.u';

    /** Returns a value in a form that json_encode writes as it must be; refuses what cannot be said, by the name of its type. */
    public static function encode($value, int $depth = 0)
    {
        if ($depth > 64) {
            throw new \InvalidArgumentException('a value is more than 64 levels deep');
        }
        if ($value === null || is_bool($value)) {
            return $value;
        }
        if (is_string($value)) {
            return preg_match('//u', $value) === 1 ? $value : ['$r' => base64_encode($value)];
        }
        if (is_int($value)) {
            return $value <= self::MAX_NUMBER && $value >= -self::MAX_NUMBER ? $value : ['$i' => (string) $value];
        }
        if (is_float($value)) {
            if (is_nan($value)) {
                return ['$f' => 'nan'];
            }
            if (is_infinite($value)) {
                return ['$f' => $value > 0 ? 'inf' : '-inf'];
            }
            return abs($value) <= self::MAX_NUMBER ? $value : ['$f' => str_replace('+', '', var_export($value, true))];
        }
        if ($value instanceof Bytes) {
            return ['$b' => base64_encode($value->bytes)];
        }
        if ($value instanceof Decimal) {
            return ['$d' => $value->text];
        }
        if ($value instanceof \DateTimeInterface) {
            $utc = (new \DateTimeImmutable('@' . $value->getTimestamp()))->setTimezone(new \DateTimeZone('UTC'));
            return ['$t' => ['moment', $utc->format('Y-m-d H:i:s') . '.' . $value->format('u')]];
        }
        if ($value instanceof \JsonSerializable) {
            return self::encode($value->jsonSerialize(), $depth + 1);
        }
        if ($value instanceof \stdClass) {
            $map = get_object_vars($value);
            return $map === [] ? $value : self::map($map, $depth);
        }
        if (is_array($value)) {
            $next = 0;
            foreach ($value as $key => $_) {
                if ($key !== $next++) {
                    return self::map($value, $depth);
                }
            }
            foreach ($value as $key => $item) {
                $value[$key] = self::encode($item, $depth + 1);
            }
            return $value;
        }
        $type = is_object($value) ? get_class($value) : gettype($value);
        throw new \InvalidArgumentException("a $type is no plain value");
    }

    private static function map(array $map, int $depth)
    {
        $pairs = [];
        $plain = new \stdClass();
        $dollar = false;
        foreach ($map as $key => $item) {
            $key = (string) $key;
            if (preg_match('//u', $key) !== 1) {
                throw new \InvalidArgumentException('a key of a map is not UTF-8');
            }
            $dollar = $dollar || $key !== '' && $key[0] === '$';
            $item = self::encode($item, $depth + 1);
            $pairs[] = [$key, $item];
            $plain->{$key} = $item;
        }
        return $dollar ? ['$m' => $pairs] : $plain;
    }

    /** Returns a value that was read as one of PHP: maps and lists are arrays, times `[kind, text]`. */
    public static function decode($value)
    {
        if (!is_array($value)) {
            return $value;
        }
        if (count($value) === 1) {
            $key = key($value);
            $inner = current($value);
            switch ($key) {
                case '$i':
                    return filter_var($inner, FILTER_VALIDATE_INT) !== false ? (int) $inner : $inner;
                case '$d':
                    return $inner;
                case '$f':
                    $named = ['nan' => NAN, 'inf' => INF, '-inf' => -INF];
                    return $named[$inner] ?? (float) $inner;
                case '$b':
                case '$r':
                    return base64_decode($inner, true);
                case '$t':
                    return $inner;
                case '$m':
                    $map = [];
                    foreach ($inner as $pair) {
                        $map[$pair[0]] = self::decode($pair[1]);
                    }
                    return $map;
            }
        }
        foreach ($value as $key => $item) {
            if (is_array($item)) {
                $value[$key] = self::decode($item);
            }
        }
        return $value;
    }

    /** Returns a path as it is written. */
    public static function path(string $path)
    {
        return preg_match('//u', $path) === 1 ? $path : ['$b' => base64_encode($path)];
    }

    /** Returns a path that was read. */
    public static function pathIn($path): string
    {
        return is_array($path) ? base64_decode($path['$b'], true) : $path;
    }
}
