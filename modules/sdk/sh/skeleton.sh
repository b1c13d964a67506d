#!/bin/sh
# A module of dedup: what it gives when it is backed up, and what it does with it when it is restored.
# live: while its services run; stopped: while they do not; either.
DEDUP_NEEDS=either
. ./dedup-module.sh

do_export() {
    dedup_config greeting hello
    echo "whatever belongs to it" | dedup_blob state
    printf '%s\n' '[601,"Sales"]' '[602,"Help"]' | dedup_records queues id,name
}

# Says no, by `dedup_fail CODE TEXT`, before anything is touched; changes nothing.
do_check() {
    dedup_take config
    dedup_take blob
    dedup_take records
}

do_import() {
    greeting=$(dedup_value greeting)
    state=$(dedup_get blob state | wc -c)
    queues=$(dedup_get records queues | wc -l)
    dedup_log notice "$greeting: $state bytes, $queues queues"
}

dedup_main
