<?php
/** What stands for a telephone system: a database, and the tree of its switch, below the directory PBX. */
final class Tree
{
    private $file;

    public function __construct(string $file)
    {
        $this->file = $file;
    }

    private function all(): array
    {
        return is_file($this->file) ? json_decode(file_get_contents($this->file), true) : [];
    }

    public function database_show($family = '')
    {
        return array_filter($this->all(), static function ($path) use ($family) {
            return strpos($path, "/$family/") === 0;
        }, ARRAY_FILTER_USE_KEY);
    }

    public function database_put($family, $key, $value)
    {
        $all = ["/$family/$key" => $value] + $this->all();
        ksort($all);
        file_put_contents($this->file, json_encode($all));
    }
}

// What a bootstrap prints must not get between the frames.
echo "the host is made\n";
$host = new \stdClass();
$host->Database = new \PDO('sqlite:' . getenv('PBX') . '/pbx.db');
$host->astman = new Tree(getenv('PBX') . '/astdb.json');
return $host;
