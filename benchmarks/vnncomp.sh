#!/usr/bin/env bash
# Runs a folder of verification benchmarks in VNN-COMP's layout, instance by instance, and checks every verdict.
# Resumable: instances that --out already holds are skipped. Ctrl-C ends it; the instance under way is not recorded.
usage() {
  cat <<'END'
usage: benchmarks/vnncomp.sh DIR [options]
  DIR               folder with one folder per benchmark (instances.csv, onnx/, vnnlib/) and a truth.csv beside them;
                    or one such benchmark folder itself
  --only NAME       only this benchmark (may be repeated, or a,b,c)
  --jobs N          instances at a time (default 1: times are then those of an otherwise idle machine)
  --timeout-cap S   no instance gets more than S seconds
  --out FILE        results, appended to (default results.csv)
  --binary PATH     program (default build/release/epsproof beside this script's folder)
  --threads N       worker threads per instance (default: the program's own)
  --engine NAME     engine (default auto)
  --no-replay       do not replay counterexamples in ONNX Runtime
Columns: benchmark,onnx,vnnlib,timeout,verdict,seconds,cpu_seconds,max_rss_kb,truth,status,engine,replay,certify_seconds
  status: right | wrong | unsolved | new (a verdict where the truth is not known)
  replay: ok | failed | skipped (no ONNX Runtime) | empty for other verdicts
  certify_seconds: CPU time of the certified passes, part of cpu_seconds; the table's "rigour" is their share
Exit code: 0 when nothing is wrong, 1 otherwise, 2 for usage, 130 after Ctrl-C.
END
}
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
dir='' only='' jobs=1 cap='' out=results.csv binary=$here/build/release/epsproof threads='' engine=auto replay=1
die() { echo "vnncomp.sh: $*" >&2; exit 2; }
while [ $# -gt 0 ]; do
  case $1 in
    -h|--help) usage; exit 0 ;;
    --no-replay) replay=0; shift; continue ;;
    --*=*) set -- "${1%%=*}" "${1#*=}" "${@:2}"; continue ;;
    --*) [ $# -ge 2 ] || die "$1 needs a value (see --help)" ;;
  esac
  case $1 in
    --only) only+=",$2"; shift 2 ;;
    --jobs) jobs=$2; shift 2 ;;
    --timeout-cap) cap=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --binary) binary=$2; shift 2 ;;
    --threads) threads=$2; shift 2 ;;
    --engine) engine=$2; shift 2 ;;
    -*) die "unknown option $1 (see --help)" ;;
    *) [ -z "$dir" ] || die "one folder only (see --help)"; dir=$1; shift ;;
  esac
done
[ -n "$dir" ] || { usage >&2; exit 2; }
[ -d "$dir" ] || die "$dir: no such folder"
[ -x "$binary" ] || die "$binary: no such program (build it with scripts/quickstart.sh, or name one with --binary)"
[[ $jobs =~ ^[1-9][0-9]*$ ]] || die "--jobs: '$jobs' is not a number"
[[ $cap =~ ^[0-9]*$ ]] || die "--timeout-cap: '$cap' is not a whole number of seconds"
dir=$(cd "$dir" && pwd)

work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
# Ctrl-C and SIGTERM are passed on: to the instance under way, or to the jobs, which pass them on to theirs.
stop=0 child=''
declare -A slot_of
trap 'stop=1; kill -TERM $child ${!slot_of[@]} 2>/dev/null' INT TERM

# Benchmarks: names and their folders.
names=() roots=()
if [ -f "$dir/instances.csv" ]; then
  names=("$(basename "$dir")") roots=("$dir")
else
  for f in "$dir"/*/instances.csv; do
    [ -f "$f" ] || die "$dir: no */instances.csv there"
    name=$(basename "$(dirname "$f")")
    case $only, in *,"$name",*|,) names+=("$name"); roots+=("$(dirname "$f")") ;; esac
  done
fi
[ ${#names[@]} -gt 0 ] || die "--only ${only#,}: no such benchmark in $dir"

# Known answers, by column name.
declare -A truth done_rows
for f in "$dir/truth.csv" "$(dirname "$dir")/truth.csv"; do
  [ -f "$f" ] || continue
  while IFS=, read -r key value; do truth[$key]=$value; done < <(tr -d '\r' <"$f" | awk -F, '
    NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    { print (("benchmark" in at) ? $at["benchmark"] : "") "|" $at["onnx"] "|" $at["vnnlib"] "," $at["truth"] }')
  break
done
header=benchmark,onnx,vnnlib,timeout,verdict,seconds,cpu_seconds,max_rss_kb,truth,status,engine,replay,certify_seconds
if [ -s "$out" ]; then
  IFS= read -r first <"$out"
  [ "$first" = "$header" ] || die "$out: not a result file of this program"
  while IFS=, read -r b o v _; do done_rows["$b|$o|$v"]=1; done <"$out"
else
  echo "$header" >"$out" || exit 2
fi

# ONNX Runtime, when it is there.
replay_script=$here/scripts/ort_replay.mjs
if [ $replay = 1 ] && ! { command -v node >/dev/null && [ -f "$replay_script" ] && node "$replay_script" --check >/dev/null 2>&1; }; then
  replay=0
  echo "vnncomp.sh: ONNX Runtime is not installed, counterexamples are not replayed there (see CONTRIBUTING.md)" >&2
fi

# The runtime's own outputs for the witness's exact inputs must violate the property, without any slack.
replay_witness() { # network property witness -> ok | failed
  node "$replay_script" "$1" --witness "$3" >"$3.ort" 2>>"$3.err" || { echo failed; return; }
  "$binary" inspect "$1" "$2" --check "$3.ort" >>"$3.err" 2>&1
  [ $? = 10 ] && echo ok || echo failed
}

elapsed() { # microsecond clock readings -> seconds
  local us=$((${2/[.,]/} - ${1/[.,]/}))
  printf -v REPLY '%d.%06d' $((us / 1000000)) $((us % 1000000))
}

run_one() { # slot benchmark root onnx vnnlib timeout
  local slot=$1 b=$2 root=$3 onnx=$4 vnnlib=$5 t=$6 tmp=$work/$1
  local args=(verify "$root/$onnx" "$root/$vnnlib" --timeout "$t" --engine "$engine" --witness "$tmp.wit")
  [ -z "$threads" ] || args+=(--threads "$threads")
  rm -f "$tmp.wit" 2>/dev/null
  local t0=$EPOCHREALTIME
  timeout -k 5 "$((${t%.*} + 30))" "$binary" "${args[@]}" >"$tmp.out" 2>"$tmp.err" </dev/null &
  child=$!
  [ $stop = 0 ] || kill -TERM "$child" 2>/dev/null # the signal came before there was a child to pass it to
  local rc=0
  wait "$child"
  rc=$?
  while kill -0 "$child" 2>/dev/null; do # woken by a signal
    wait "$child"
    rc=$?
  done
  child=''
  local t1=$EPOCHREALTIME
  [ $stop = 0 ] || return 0
  elapsed "$t0" "$t1"
  local seconds=$REPLY verdict='' cpu='' certify='' rss='' by='' line
  while IFS= read -r line; do
    case $line in
      unsat|sat|unknown|timeout) [ -n "$verdict" ] || verdict=$line ;;
      "seconds: "*) cpu=${line##*cpu }; certify=${cpu##* }; certify=${certify%)}; cpu=${cpu%%[,)]*} ;;
      "memory: "*) rss=${line#memory: }; rss=${rss% KiB} ;;
      "engine: "*) by=${line##* } ;;
    esac
  done <"$tmp.out"
  case $rc in 0|10|20) ;; 1|2|3) verdict=error ;; *) verdict=crash ;; esac
  [ -n "$verdict" ] || verdict=crash
  local key="$b|$onnx|$vnnlib" known status
  known=${truth[$key]-${truth["|$onnx|$vnnlib"]-unknown}}
  case $verdict/$known in
    sat/sat|unsat/unsat) status=right ;;
    sat/unsat|unsat/sat) status=wrong ;;
    sat/*|unsat/*) status=new ;;
    *) status=unsolved ;;
  esac
  local replayed=''
  if [ "$verdict" = sat ]; then
    replayed=skipped
    [ $replay = 0 ] || replayed=$(replay_witness "$root/$onnx" "$root/$vnnlib" "$tmp.wit")
    [ "$replayed" != failed ] || status=wrong
  fi
  [ $stop = 0 ] || return 0
  if [ "$status" = wrong ]; then
    echo "WRONG: $b $onnx $vnnlib: $verdict, known $known, replay ${replayed:-none}" >&2
  elif [ "$verdict" = error ] || [ "$verdict" = crash ]; then
    IFS= read -r line <"$tmp.err" || line="exit code $rc"
    echo "$verdict: $b $onnx $vnnlib: $line" >&2
  fi
  echo "$b,$onnx,$vnnlib,$t,$verdict,$seconds,$cpu,$rss,$known,$status,$by,$replayed,$certify" >>"$out"
}

free_slots=()
for ((i = 0; i < jobs; i++)); do free_slots+=("$i"); done
start_one() { # arguments of run_one without the slot
  if [ "$jobs" = 1 ]; then run_one 0 "$@"; return; fi
  while [ ${#free_slots[@]} = 0 ] && [ $stop = 0 ]; do
    local pid=''
    wait -n -p pid
    [ -z "${pid-}" ] || { free_slots+=("${slot_of[$pid]}"); unset "slot_of[$pid]"; }
  done
  [ $stop = 0 ] || return 0
  local slot=${free_slots[-1]}
  unset 'free_slots[-1]'
  (
    unset slot_of
    declare -A slot_of
    trap 'stop=1; kill -TERM $child 2>/dev/null' TERM
    run_one "$slot" "$@"
  ) &
  slot_of[$!]=$slot
  [ $stop = 0 ] || kill -TERM $! 2>/dev/null
}

for ((k = 0; k < ${#names[@]} && stop == 0; k++)); do
  while IFS=, read -r onnx vnnlib t _ && [ $stop = 0 ]; do
    t=${t//[$'\r ']/} vnnlib=${vnnlib%$'\r'}
    onnx=${onnx#./} vnnlib=${vnnlib#./}
    [ -n "$onnx" ] && [ -n "$vnnlib" ] && [ "$onnx" != onnx ] || continue
    [ -z "${done_rows["${names[k]}|$onnx|$vnnlib"]-}" ] || continue
    t=${t:-60}
    [ -z "$cap" ] || [ "${t%.*}" -le "$cap" ] || t=$cap
    start_one "${names[k]}" "${roots[k]}" "$onnx" "$vnnlib" "$t"
  done <"${roots[k]}/instances.csv"
done
while [ "$jobs" != 1 ] && [ ${#slot_of[@]} -gt 0 ]; do
  pid=''
  wait -n -p pid
  [ $? != 127 ] || break # none left
  [ -z "${pid-}" ] || unset "slot_of[$pid]"
done

# One line per benchmark. PAR-2: mean seconds, what is not solved (or wrong) counts twice its timeout.
awk -F, -v only="$(IFS='|'; echo "|${names[*]}|")" '
  function median(list, n,   i, j, v, a) {
    split(list, a, " ")
    for (i = 2; i <= n; i++) { v = a[i] + 0; for (j = i - 1; j >= 1 && a[j] + 0 > v; j--) a[j + 1] = a[j]; a[j + 1] = v }
    return n ? (n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2) : 0
  }
  NR == 1 || !index(only, "|" $1 "|") { next }
  !($1 in n) { order[++m] = $1 }
  { n[$1]++; s[$1 "," $10]++; sum[$1] += $6; list[$1] = list[$1] " " $6
    par[$1] += ($10 == "unsolved" || $10 == "wrong") ? 2 * $4 : $6
    if ($12 == "ok") ok[$1]++; if ($12 == "failed") bad[$1]++; if ($8 + 0 > rss[$1]) rss[$1] = $8
    cpu[$1] += $7; certify[$1] += $13 }
  END {
    fmt = "%-28s %9s %6s %6s %9s %5s %9s %10s %9s %9s %8s %7s\n"
    printf fmt, "benchmark", "instances", "right", "wrong", "unsolved", "new", "median s", "total s", "PAR-2", "replayed", "MiB", "rigour"
    for (i = 1; i <= m; i++) {
      b = order[i]
      printf fmt, b, n[b], s[b ",right"] + 0, s[b ",wrong"] + 0, s[b ",unsolved"] + 0, s[b ",new"] + 0,
        sprintf("%.3f", median(list[b], n[b])), sprintf("%.2f", sum[b]), sprintf("%.3f", par[b] / n[b]),
        (ok[b] + 0) "/" (ok[b] + bad[b]), sprintf("%.0f", rss[b] / 1024),
        sprintf("%.1f%%", cpu[b] > 0 ? 100 * certify[b] / cpu[b] : 0)
      wrong += s[b ",wrong"]
    }
    exit wrong > 0
  }' "$out"
status=$?
[ $stop = 0 ] || exit 130
exit $status
