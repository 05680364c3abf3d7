# What stands in front of a page's commands when a test runs them. Three things differ from a
# reader's shell: ports are free ones, servers run in the background, and both end with the page.
set -eu
servers=()

tonearm() {
    case " $* " in
    *" serve "*) started "$(port_of "$TONEARM_SERVE_PORT" "$@")" "$@" ;;
    *" demo "*) # a reader presses Ctrl-C before the next command, which wants the same masters
        started "$(port_of "$TONEARM_DEMO_PORT" "$@")" "$@"
        stop
        ;;
    *) "$PYTHON" -m cli "$@" ;;
    esac
}

# the one that comes with the project: a reader has one of the system
ffmpeg() { "$FFMPEG" "$@"; }

started() {
    local port=$1
    shift
    "$PYTHON" -m cli "$@" >>server.log 2>&1 &
    servers+=($!)
    until_ready "$port"
}

port_of() {
    local port=$1
    while [ $# -gt 0 ]; do
        [ "$1" != --port ] || port=$2
        shift
    done
    echo "$port"
}

until_ready() {
    for _ in $(seq 300); do
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
    servers=()
}
trap stop EXIT
