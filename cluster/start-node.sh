#!/bin/sh
# Start Ray on this machine, with token authentication and the store's settings. Used by `ray up`, and good by hand or in a systemd unit:
#     start-node.sh head                    start-node.sh worker HEAD_ADDRESS              (what follows goes to `ray start`)
# Reads $ZOOAUDIT_S3_ENV (default ~/.config/zooaudit/s3.env: NAME=value lines, mode 600) and runs Ray from $ZOOAUDIT_ENV (default ~/zooaudit-env).
set -eu

give_up() {
    echo "start-node: $1" >&2
    exit 2
}

role=${1:-}
case $role in
    head) shift ;;
    worker)
        [ $# -ge 2 ] || give_up "worker needs the head's address: start-node.sh worker 10.0.0.1"
        address=$2
        shift 2
        ;;
    *) give_up "expected head or worker, found '$role'" ;;
esac

programs=${ZOOAUDIT_ENV:-$HOME/zooaudit-env}/bin
ray=$programs/ray
[ -x "$ray" ] || give_up "no $ray; install zooaudit[cluster] there, or set ZOOAUDIT_ENV"
token=${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}
[ -n "${RAY_AUTH_TOKEN:-}" ] || [ -s "$token" ] ||
    give_up "no token in $token; make one on one machine with '$ray get-auth-token --generate' and copy the file to all"

settings=${ZOOAUDIT_S3_ENV:-$HOME/.config/zooaudit/s3.env}
if [ -f "$settings" ]; then
    set -a
    # shellcheck disable=SC1090
    . "$settings"
    set +a
fi

ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)" # Ray holds a few files for each worker and connection

export PATH="$programs:$PATH" # a job's `python` is the one that this node finds first
# As in the Dockerfile; RAY_AUTH_MODE must be the same on every node.
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 RAY_worker_niceness=0 RAY_TRAIN_V2_ENABLED=1 RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S=15
export RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO=0

if [ "$role" = head ]; then
    # The dashboard, which takes jobs, listens on this machine only: reach it with `ray dashboard` or an SSH tunnel.
    exec "$ray" start --head --port=6379 --dashboard-host=127.0.0.1 --metrics-export-port=8080 "$@"
fi
case $address in *:*) ;; *) address=$address:6379 ;; esac
exec "$ray" start --address="$address" --metrics-export-port=8080 "$@"
