#!/usr/bin/env bash
# DeepFool's study (Moosavi-Dezfooli et al. 2016) on an FC 500-150-10 and a LeNet: robustness by DeepFool and by FGSM, and what five
# more epochs on perturbed images alone do to it.
usage() {
  cat <<'END'
usage: benchmarks/deepfool.sh OUT_DIR DATA [options]
  DATA             a folder with MNIST's four IDX files, or fashion-mnist
  --networks LIST  which of "fc lenet" (default both)
  --count N        test images that robustness is measured on (default 1000; 0 = all)
  --train N        training images that are perturbed for the fine-tuning (default 10000; 0 = all)
  --no-tuning      the table of robustness only
Networks are trained once and kept in OUT_DIR. Results:
  robustness.csv   test error; rho (l2), over the samples and over the samples less their mean; rho (linf); gradients and seconds:
                   of DeepFool without a valid range (as in the paper) and in [0,1], and of FGSM with the one radius that leaves
                   90 % misclassified (as in the paper; fgsm-p computes the gradient as usual in float32, p - 1) and with the
                   shortest step of each sample
  tuning_NET.csv   rho (l2) and test error after each epoch, for perturbations of DeepFool (lengthened 1, 2, 3 times) and FGSM, and
                   for none; tuning_NET.svg draws it
END
}
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# -ge 2 ] || { usage >&2; exit 2; }
out=$1 data=$2 networks='fc lenet' count=1000 train=10000 tuning=1
shift 2
while [ $# -gt 0 ]; do
  case $1 in
    -h|--help) usage; exit 0 ;;
    --no-tuning) tuning=0; shift ;;
    --networks|--count|--train) [ $# -ge 2 ] || { echo "deepfool.sh: $1 needs a value" >&2; exit 2; }
      declare "${1#--}=$2"; shift 2 ;;
    *) echo "deepfool.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
  esac
done
mkdir -p "$out"
cmake --build "$root/build/release" --target epsproof plot_csv >/dev/null
program=$root/build/release/epsproof
of() { sed -n "s/.*\"$2\": \([^,}]*\).*/\1/p" <<<"$1"; } # a number of a JSON record
attack() { # network, attack and options: its record; points leave the valid range freely, as in the paper
  "$program" attack "$1" --data "$data" --own-class --unclipped --steps 50 --format json -q "${@:2}"
}
sgd() { "$program" train "$@" --method natural --optimiser sgd --momentum 0.9 --batch 64 --validation 0 -q --format json; }
test_error() { awk -v r="$(of "$1" right)" -v n="$(of "$1" samples)" 'BEGIN { printf "%.3f", 100 * (1 - r / n) }'; }

declare -A arch=([fc]=fc-500-150 [lenet]=lenet) epochs=([fc]=14 [lenet]=4) rate=([fc]=0.05 [lenet]=0.04) half=([fc]=0.025 [lenet]=0.02)
echo 'network,attack,test_error,rho_l2,rho_l2_centred,rho_linf,gradients,seconds' >"$out/robustness.csv"
for net in $networks; do
  model=$out/$net.onnx
  [ -f "$model" ] || sgd "$model" --data "$data" --arch "${arch[$net]}" --rate "${rate[$net]}" --epochs "${epochs[$net]}" \
    --decay "$((epochs[$net] - 1))" >/dev/null
  row() { # name, options: one line, rho (linf) from the same attack in linf
    local two inf
    inf=$(attack "$model" --count "$count" --norm linf "${@:3}")
    two=$inf
    [ "$2" = linf ] || two=$(attack "$model" --count "$count" --norm l2 "${@:3}")
    echo "$net,$1,$(test_error "$two"),$(of "$two" rho_l2),$(of "$two" rho_l2_centred),$(of "$inf" rho_linf),$(of "$two" mean_gradients),$(of "$two" seconds)" |
      tee -a "$out/robustness.csv"
  }
  row deepfool l2 --method deepfool
  row 'deepfool in [0;1]' l2 --method deepfool --unclipped=false
  row 'fgsm at 90 %' linf --method fgsm --fool 0.9
  row 'fgsm-p at 90 %' linf --method fgsm-p --fool 0.9
  row 'fgsm shortest' linf --method fgsm
done
[ $tuning = 1 ] || exit 0

for net in $networks; do
  model=$out/$net.onnx
  part=(--part train --count "$train")
  for times in 1 2 3; do attack "$model" "${part[@]}" --norm l2 --method deepfool --magnify $times --points "$out/deepfool$times.npy" >/dev/null; done
  attack "$model" "${part[@]}" --method fgsm --fool 0.9 --points "$out/fgsm.npy" >/dev/null
  attack "$model" "${part[@]}" --method fgsm --magnify 0 --points "$out/none.npy" >/dev/null
  echo 'variant,epoch,rho,test_error' >"$out/long.csv"
  for variant in deepfool1 deepfool2 deepfool3 fgsm none; do
    cp "$model" "$out/tuned.onnx"
    for epoch in 0 1 2 3 4 5; do
      [ $epoch = 0 ] || sgd "$out/tuned.onnx" --data "$out/$variant.npy" --labels "$out/$variant.labels.npy" --arch "$out/tuned.onnx" \
        --keep-weights --rate "${half[$net]}" --epochs 1 --decay 9 --seed $epoch >/dev/null
      record=$(attack "$out/tuned.onnx" --count "$count" --norm l2 --method deepfool)
      echo "$variant,$epoch,$(of "$record" rho_l2),$(test_error "$record")" | tee -a "$out/long.csv"
    done
  done
  awk -F, 'NR > 1 { rho[$2, $1] = $3; error[$2, $1] = $4 }
    END { n = split("deepfool1 deepfool2 deepfool3 fgsm none", v, " ")
          printf "epoch"; for (i = 1; i <= n; i++) printf ",%s", v[i]; for (i = 1; i <= n; i++) printf ",error_%s", v[i]; print ""
          for (e = 0; e <= 5; e++) { printf "%d", e
            for (i = 1; i <= n; i++) printf ",%s", rho[e, v[i]]
            for (i = 1; i <= n; i++) printf ",%s", error[e, v[i]]; print "" } }' "$out/long.csv" >"$out/tuning_$net.csv"
  "$root/build/release/benchmarks/plot_csv" lines "rho after fine-tuning $net on perturbed images only" epoch \
    deepfool1,deepfool2,deepfool3,fgsm,none "$out/tuning_$net.csv" "$out/tuning_$net.svg"
done
rm -f "$out"/{deepfool1,deepfool2,deepfool3,fgsm,none}{,.labels}.npy "$out/long.csv" "$out/tuned.onnx"
