#!/bin/sh
# Ten folds of LUNA16, both stages, tested and paired: scripts/luna16.sh DATA OUT [BOOK]
#
# DATA is the challenge's folder (docs/luna16.md), BOOK that of the book's checkpoints. Under ten
# hours on one H100 with 16 cores; OUT takes 160 GB. Run again, it goes on where it was stopped.
# Needs luna in PATH. FOLDS, WORKERS, SEG, CLS and MALIGNANCY make a smaller run: which folds, how
# many scans at once, and options for each kind of training.
set -eu
data=${1:?usage: scripts/luna16.sh DATA OUT [BOOK]}
out=${2:?usage: scripts/luna16.sh DATA OUT [BOOK]}
book=${3:-}
here=$(dirname "$0")
runs=$out/runs
folds=${FOLDS:-0 1 2 3 4 5 6 7 8 9}
. "$here/steps.sh"

# evaluated OUT OPTIONS…: what a pipeline makes of some scans.
evaluated() {
    folder=$1
    shift
    once "$folder/metrics.json" luna evaluate "$data" --out "$folder" \
        --workers "${WORKERS:-8}" "$@"
}
# found TASK NAME: the bundle that a run of this name made.
found() { echo "$runs/$1"-*-"$2"/bundle; }

# What some readers called a nodule is no negative example, as it is no false mark in the score.
prepare="luna prep $data"
test -e "$data/annotations_excluded.csv" &&
    prepare="$prepare --set candidates.without_excluded=true"
$prepare --cache "$out/cache1" --set 'slices="all"'

# The marks of each fold's U-Net on the scans of its own fold, which it did not see, are what the
# classifiers learn from. A pipeline needs a classifier too; its probabilities are not used, so it
# sees one cube and is trained for one epoch.
for fold in $folds; do
    # shellcheck disable=SC2086  # options are words
    trained train-seg segmentation "fold$fold" "$out/cache1" --config luna16-seg \
        --set "split.test_fold=$fold" ${SEG:-}
    # shellcheck disable=SC2086
    trained train-cls nodule "first$fold" "$out/cache1" --config luna16-cls \
        --set "split.test_fold=$fold" ${CLS:-} --set train.epochs=1 \
        --set 'network.scales_mm=[]' --set network.spacing_mm=1.25
    evaluated "$out/marks/fold$fold" --fold "$fold" --set samples=0 \
        --weights "$(found segmentation "fold$fold")" --weights "$(found nodule "first$fold")"
done
awk 'FNR > 1 || NR == 1' "$out"/marks/fold?/detections.csv > "$out/marks/detections.csv"
$prepare --cache "$out/cache2" --set spacing_mm=3.2 --detections "$out/marks/detections.csv"

for fold in $folds; do
    # shellcheck disable=SC2086
    trained train-cls nodule "fold$fold" "$out/cache2" --config luna16-cls \
        --set "split.test_fold=$fold" ${CLS:-}
    weights="--weights $(found segmentation "fold$fold") --weights $(found nodule "fold$fold")"
    if test -e "$data/annotations_with_malignancy.csv"; then
        # shellcheck disable=SC2086
        trained train-cls malignancy "fold$fold" "$out/cache2" --config luna16-malignancy \
            --task malignancy --init "$(found nodule "fold$fold")" --unfreeze 6 \
            --set "split.test_fold=$fold" ${MALIGNANCY:-}
        weights="$weights --weights $(found malignancy "fold$fold")"
    fi
    # The scans that chose the epochs choose temperature and threshold too, and no test scan does.
    mkdir -p "$out/validation"
    python "$here/ship_bundles.py" --validation "$out/cache2" --fold "$fold" \
        --list "$out/validation/fold$fold.csv"
    # shellcheck disable=SC2086
    evaluated "$out/validation/fold$fold" $weights --set fp_per_scan=1.0 \
        --series-list "$out/validation/fold$fold.csv" --calibrate "$out/calibrated/fold$fold"
    evaluated "$out/tested/fold$fold" --fold "$fold" --weights "$out/calibrated/fold$fold"
done
once "$out/all/metrics.json" luna score "$out"/tested/fold? --out "$out/all"

if test -n "$book"; then
    for fold in $folds; do
        evaluated "$out/book/fold$fold" --fold "$fold" --weights "$book"
    done
    versus=$(printf ' --versus %s' "$out"/book/fold?)
    # shellcheck disable=SC2086
    once "$out/versus-book/metrics.json" luna score "$out"/tested/fold? $versus \
        --out "$out/versus-book"
fi
