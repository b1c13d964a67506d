# Modules of dedup in POSIX shell: define do_export, do_import, do_check, do_reset, do_revert, do_run, then call dedup_main.
#
# Standard input and output are the protocol's; here they are put aside, so that whatever a command prints becomes a
# message. `dedup module-helper` speaks; DEDUP names the program if it is not in PATH.

set -eu
exec 3>&1 4<&0 1>&2 0</dev/null

DEDUP_HELPER_STATE=$(mktemp -d)
export DEDUP_HELPER_STATE
trap 'rm -rf "$DEDUP_HELPER_STATE"' EXIT
trap 'exit 0' TERM

# Speaks; what it is given comes from descriptor 5, what it tells goes to descriptor 6.
_dedup() {
    ${DEDUP:-dedup} module-helper "$@" <&4 >&3 && return 0
    _status=$?
    # 99: it was cancelled, and that has been answered.
    [ "$_status" != 99 ] || kill -TERM "$$"
    return "$_status"
}

dedup_config() { _dedup config "$@" </dev/null; }             # KEY VALUE [--secret] [--typed: VALUE is JSON]
dedup_absent() { _dedup absent "$@"; }                        # KEY [--secret]
dedup_depend() { _dedup depend "$@"; }                        # MODULE [CONDITION]
dedup_file() { _dedup file "$@"; }                            # PATH [--kind K] [--base VARIABLE] [--section S] [--optional]
dedup_dir() { _dedup dir "$@"; }                              # the same
dedup_blob() { _dedup blob "$@" 5<&0; }                       # NAME [--section S] [--kind K] < BYTES
dedup_records() { _dedup records "$@" 5<&0; }                 # NAME COLUMN,COLUMN… [--section S] < lines, each a JSON list
dedup_tree() { _dedup tree "$@" 5<&0; }                       # NAME [--section S] < lines, each [[KEY,…],VALUE]
dedup_dump() { _dedup dump "$@" 6>&1; }                       # SOURCE; prints what became of it
dedup_skip_reset() { _dedup skip-reset; }
dedup_scratch() { _dedup scratch 6>&1; }                      # prints a directory of its own
dedup_log() { _dedup log "$@"; }                              # LEVEL TEXT
dedup_alive() { _dedup alive; }
dedup_value() { _dedup value "$@" 6>&1; }                     # KEY; prints text as it is, other values as JSON
dedup_get() { _dedup get "$@" 6>&1; }                         # blob|records|tree|file NAME, or files|dirs; prints it
dedup_resolve() { _dedup resolve "$@" 6>&1; }                 # VARIABLE; prints its value
dedup_take() { _dedup take "$@"; }                            # blob|records|tree|config [NAME]
dedup_space() { _dedup space "$@" 6>&1; }                     # put-path|put-value|value|restore|exists|delete|list …
dedup_fail() { _dedup fail "$@"; trap - EXIT; rm -rf "$DEDUP_HELPER_STATE"; exit 1; }   # CODE TEXT

dedup_main() {
    _ops=
    for _op in export import check reset legacy revert run; do
        if command -v "do_$_op" >/dev/null; then _ops="$_ops $_op"; fi
    done
    # shellcheck disable=SC2086
    _status=0
    DEDUP_OP=$(_dedup hello --needs "${DEDUP_NEEDS:-either}" $_ops 6>&1) || _status=$?
    [ "$_status" = 0 ] || exit "$_status"
    # Refused, as there is no such operation.
    [ -n "$DEDUP_OP" ] || exit 0
    [ "$DEDUP_OP" = describe ] || "do_$DEDUP_OP"
    _dedup "done"
}
