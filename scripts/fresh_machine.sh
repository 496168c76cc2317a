#!/usr/bin/env bash
# Runs the README's two commands on a bare Debian 12 or 13 and prints how long each took.
#
#   scripts/fresh_machine.sh bookworm|trixie [--folder DIR] [--keep] [COMMAND...]
#
#   --folder DIR   where the system goes; else a new folder for temporary files
#   --keep         leave it there; with --folder a later call goes on with it
#   COMMAND...     run these instead, each one line of shell, in the clone's folder
#
# What is tried is a clone of HEAD. Takes root, debootstrap, git, and some 10 GB of disk.
# Package clients find what this machine's own are told: name servers, proxies, pip's
# settings, certificates. Everything runs in name spaces of mounts and processes of its
# own, so that whatever ends this script ends them too.
set -euo pipefail
script=$(realpath "${BASH_SOURCE[0]}")
project=$(dirname "$(dirname "$script")")
clone=/root/reviewbeam # in the new system
mark=.fresh_machine # Written last: which suite a whole system is of.
settings=(PIP_{INDEX_URL,EXTRA_INDEX_URL,TRUSTED_HOST,PROXY,CERT,DEFAULT_TIMEOUT}
    UV_{DEFAULT_INDEX,INDEX_URL,SYSTEM_CERTS} {http,https,no,all}_proxy
    {HTTP,HTTPS,NO,ALL}_PROXY SSL_CERT_{FILE,DIR} {REQUESTS,CURL}_CA_BUNDLE TERM)

fail() {
    printf 'fresh_machine: %s\n' "$1" >&2
    exit 2
}

usage() {
    sed -n 's/^#   //p' "$script" >&2
    exit 2
}

# Copies files of this system to the same place in the new one, where they exist.
bring() {
    local file
    for file; do
        [ -f "$file" ] || continue
        mkdir -p "$folder$(dirname "$file")"
        cp --dereference "$file" "$folder$file"
    done
}

make_system() {
    local mirror name
    # Another suite of the archive that apt takes this system's from.
    # shellcheck disable=SC2016  # Expanded by apt-get.
    mirror=$(apt-get indextargets --format '$(SITE)' 'Origin: Debian' 2>/dev/null |
        grep '/debian/*$' | head -n 1) || true
    debootstrap --variant=minbase --include=ca-certificates "$suite" "$folder" \
        ${mirror:+"$mirror"} >"$folder.log" 2>&1 || {
        tail -n 5 "$folder.log" >&2
        fail "debootstrap failed; $folder.log has all that it said."
    }
    rm "$folder.log"
    bring /etc/pip.conf ~/.config/pip/pip.conf ~/.pip/pip.conf \
        /usr/local/share/ca-certificates/*.crt
    apt-config dump Acquire 2>/dev/null | grep -iE '^Acquire::https?::' \
        >"$folder/etc/apt/apt.conf.d/90proxy" || true
    chroot "$folder" update-ca-certificates >/dev/null 2>&1
    for name in PIP_CERT SSL_CERT_FILE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE; do
        # A certificate that lies elsewhere.
        [ -e "$folder${!name:-}" ] || bring "${!name}"
    done
    git clone --quiet --no-hardlinks "$project" "$folder$clone"
    echo "$suite" >"$folder/$mark"
}

# All that mounts anything; runs in name spaces of its own.
run_inside() {
    local name command environment start code worst=0
    [ -f "$folder/$mark" ] || make_system
    bring /etc/resolv.conf /etc/hosts
    git -C "$folder$clone" fetch --quiet "$project" HEAD
    git -C "$folder$clone" reset --quiet --hard FETCH_HEAD
    echo "fresh_machine: $suite: a bare system after $SECONDS s, in $folder"
    # Who changes how mounts spread below / needs a / that is a mount.
    mount --bind "$folder" "$folder"
    mount -t proc proc "$folder/proc"
    mount --rbind /sys "$folder/sys"
    mount --rbind /dev "$folder/dev"
    environment=(HOME=/root
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
    for name in "${settings[@]}"; do
        [ -z "${!name:-}" ] || environment+=("$name=${!name}")
    done
    for command; do
        start=$SECONDS code=0
        # shellcheck disable=SC2016  # Expanded over there.
        env -i "${environment[@]}" chroot "$folder" \
            bash -c 'cd "$0" && eval "$1"' "$clone" "$command" </dev/null || code=$?
        echo "fresh_machine: $suite: $command: $((SECONDS - start)) s, exit code $code"
        [ "$code" = 0 ] || worst=1
    done
    return "$worst"
}

# Ends what runs inside, and removes the system unless it is to be kept.
finish() {
    if [ -n "${child:-}" ] && kill -0 "$child" 2>/dev/null; then
        # The first process of a name space takes all others with it.
        # shellcheck disable=SC2046
        kill -KILL $(cat "/proc/$child/task/$child/children") 2>/dev/null ||
            kill -KILL "$child" || true
        wait "$child" || true
    fi
    [ -z "$keep" ] || return 0
    # None is to be seen out here; if one were, removal could reach through it.
    # shellcheck disable=SC2016  # awk's own.
    awk -v folder="$folder/" 'index($5 "/", folder) == 1 { exit 1 }' \
        /proc/self/mountinfo || fail "something is mounted in $folder; it stays."
    rm -rf --one-file-system "$folder"
}

suite=${1:-} folder='' keep=''
case $suite in bookworm | trixie) shift ;; *) usage ;; esac
while [ $# -gt 0 ]; do
    case $1 in
    --folder) [ $# -ge 2 ] || usage; folder=$2; shift 2 ;;
    --keep) keep=yes; shift ;;
    -*) usage ;;
    *) break ;;
    esac
done
[ $# -gt 0 ] || set -- scripts/quickstart.sh scripts/test.sh

if [ -n "${FRESH_MACHINE_INSIDE:-}" ]; then
    run_inside "$@"
    exit
fi

for name in debootstrap git unshare; do
    if [ "$(id -u)" != 0 ] || ! command -v "$name" >/dev/null; then
        fail "needs root, debootstrap, git and unshare: sudo apt-get install debootstrap \
git util-linux, then sudo $0 $suite"
    fi
done
if [ -n "$folder" ]; then
    folder=$(realpath -m "$folder")
    mkdir -p "$folder"
    [ -z "$(ls -A "$folder")" ] || [ "$(cat "$folder/$mark" 2>/dev/null)" = "$suite" ] ||
        fail "$folder is neither empty nor a $suite that an earlier call kept."
else
    folder=$(mktemp -d)
fi
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
# A job of its own: else it, and all tests with it, would ignore SIGINT.
set -m
FRESH_MACHINE_INSIDE=yes setpriv --pdeathsig KILL \
    unshare --mount --pid --fork --kill-child "$script" "$suite" --folder "$folder" "$@" &
child=$!
wait "$child"
