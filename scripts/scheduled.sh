#!/usr/bin/env bash
# Runs a reviewbeam command for cron, and acts on its exit code.
#
#   REVIEWBEAM_ALERT=COMMAND scripts/scheduled.sh JOB OPTION...
#
# 1, 75 and a killed process are run again after a pause; 2, 3 and 4 are not, since a
# person is needed and what was published before stands; nor is a run that its deadline,
# --limit or a signal stopped: the next one goes on. Whatever doesn't end with 0 is told
# to the alert command. Ends with the last exit code.
#
#   REVIEWBEAM_ALERT     command that takes the message on standard input, such as
#                        "mail -s reviewbeam me@example.org" or "curl -fsS -d @- URL"
#   REVIEWBEAM_LOGS      folder for a log of each run, and results.jsonl with the result
#                        and exit code of each attempt (runs/logs); its owner's alone,
#                        and without the values of options for Beam
#   REVIEWBEAM_ATTEMPTS  how often it is run at most (3)
#   REVIEWBEAM_PAUSE     seconds between two attempts (600)
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PATH=$PATH:$root/.venv/bin # cron's own is short
alert=${REVIEWBEAM_ALERT:-}
logs=${REVIEWBEAM_LOGS:-runs/logs}
attempts=${REVIEWBEAM_ATTEMPTS:-3}
pause=${REVIEWBEAM_PAUSE:-600}
if [[ ${1:--} = -* || -z $alert ]]; then
    echo "scheduled.sh: a job is needed, and REVIEWBEAM_ALERT, which is told what goes" \
        "wrong" >&2
    sed -n 's/^#   //p' "$0" >&2
    exit 2
fi

# Shows a command without values that may be secrets, as those of options for Beam.
shown() {
    local word own=1 # the job
    for word in "$@"; do
        case $word in
        --config | --model | --models | --dataset | --input | --output) own=1 ;;
        --config=* | --model=* | --models=* | --dataset=* | --input=* | --output=*)
            own=
            ;;
        --*=*) word="${word%%=*}=..." own= ;;
        --*) own= ;;
        *)
            [ -n "$own" ] || word=...
            own= # only the word behind the option is its value
            ;;
        esac
        printf ' %q' "$word"
    done
}

# Calls the alert command, ends with the exit code. Arguments: the code, what it means.
give_up() {
    local message
    message=$(
        echo "reviewbeam $job on $(uname -n): exit code $1, $2"
        echo "Command: $command"
        echo "Log: $log"
        tail -n 20 "$log" 2>/dev/null
    )
    if ! timeout 120 bash -c "$alert" <<<"$message"; then
        printf 'scheduled.sh: the alert command failed\n%s\n' "$message" >&2
    fi
    exit "$1"
}

stop() {
    stopped=1
    [ -z "$child" ] || kill -TERM "$child" 2>/dev/null
}

# Waits for a process in the background; a signal is handed on to it at once.
wait_for() {
    child=$1
    [ -z "$stopped" ] || stop # the signal came before there was a child
    wait "$child"
    code=$?
    while [ -n "$stopped" ] && kill -0 "$child" 2>/dev/null; do
        wait "$child"
    done
    child=
    [ -z "$stopped" ] || give_up 75 "a signal stopped it; the next run goes on"
}

job=$1
command=reviewbeam$(shown "$@")
log=$logs/$job-$(date +%Y%m%dT%H%M%S)-$$.log
child='' stopped=''
trap stop TERM INT
trap 'rm -f "$log.out"' EXIT
# Its owner's alone; what the command writes follows the umask as ever.
if ! { mkdir -p "$logs" &&
    (umask 077 && touch "$log" "$log.out" "$logs/results.jsonl"); }; then
    give_up 2 "the folder of logs can't be written"
fi

for ((attempt = 1; ; attempt++)); do
    echo "$(date -Is) attempt $attempt of $attempts: $command" >>"$log"
    reviewbeam "$@" --json >"$log.out" 2>>"$log" &
    wait_for $!
    result=$(sed -n '$s/^[[{].*/&/p' "$log.out") # the last line, where that is JSON
    sed '$s/^[[{].*//' "$log.out" >>"$log"
    printf '{"at": "%s", "job": "%s", "attempt": %d, "exit_code": %d, "result": %s}\n' \
        "$(date -Is)" "$job" "$attempt" "$code" "${result:-null}" >>"$logs/results.jsonl"
    echo "$(date -Is) exit code $code" >>"$log"
    case $code in
    0) exit 0 ;;
    2) give_up 2 "a mistake in the command, the config or the input" ;;
    3) give_up 3 "the data gate said no; what was published before stands" ;;
    4) give_up 4 "the model gate said no; the model before stays in service" ;;
    126 | 127) give_up "$code" "reviewbeam can't be started" ;;
    esac
    if [ "$code" = 75 ] && grep -q '"stopped": true' <<<"$result"; then
        give_up 75 "stopped by its deadline, limit or a signal; the next run goes on"
    fi
    [ "$attempt" -lt "$attempts" ] ||
        give_up "$code" "after $attempts attempts, and is not run again"
    sleep "$pause" &
    wait_for $!
done
