# Steps of long scripts that can be stopped and run again; sourced, with $runs set.

# once FILE COMMAND…: run the command unless what it makes is there.
once() {
    made=$1
    shift
    test -e "$made" || "$@"
}
# trained COMMAND TASK NAME ARGUMENTS…: train, or go on with the run of that name. A run that was
# finished says its result again.
trained() {
    command=$1
    run=$(find "$runs" -maxdepth 1 -name "$2-*-$3" 2>/dev/null || true)
    name=$3
    shift 3
    if test -n "$run"; then
        luna "$command" --resume "$run"
    else
        luna "$command" "$@" --runs "$runs" --name "$name"
    fi
}
