# What stands in front of a page's commands when a test runs them. Three things differ from a
# reader's shell: ports are free ones, servers run in the background, and both end with the page.
set -eu
servers=()

tonearm() {
    case " $* " in
    *" serve "*)
        "$PYTHON" -m cli "$@" 2>>server.log &
        servers+=($!)
        until_ready "$(port_of "$@")"
        ;;
    *) "$PYTHON" -m cli "$@" ;;
    esac
}

# the one that comes with the project: a reader has one of the system
ffmpeg() { "$FFMPEG" "$@"; }

port_of() {
    while [ $# -gt 0 ]; do
        [ "$1" != --port ] || { echo "$2"; return; }
        shift
    done
    echo "$TONEARM_SERVE_PORT"
}

until_ready() {
    for _ in $(seq 150); do
        ! curl -sf -o /dev/null "http://127.0.0.1:$1/readyz" || return 0
        sleep 0.1
    done
    echo "nothing is ready at port $1" >&2
    return 1
}

stop() {
    # every server is told, and waited for: none outlives its page
    for server in "${servers[@]}"; do kill "$server" || true; done
    for server in "${servers[@]}"; do wait "$server" || true; done
}
trap stop EXIT
