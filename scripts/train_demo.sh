#!/bin/sh
# Train both networks on synthetic scans and judge them on others: scripts/train_demo.sh [OUT]
#
# 24 slabs of 100 mm with about five nodules each to train, of which every fourth chooses the
# best epoch, and 8 of another seed for the verdict. Needs luna in PATH, as `make train-demo` has.
set -eu
out=${1:-train-demo}
here=$(dirname "$0")/..
slabs() { luna phantom "$@" --processes 2 --quiet \
    --set slab_mm=100 --set without_nodules=0 --set extra_nodules=4; }
rm -rf "$out"
slabs "$out/cohort" --scans 24 --seed 11
slabs "$out/held-out" --scans 8 --seed 12
luna prep "$out/cohort" --cache "$out/cache" --set 'slices="all"'
luna train-seg "$out/cache" --config "$here/configs/tiny-seg.toml" --runs "$out/runs" --name demo
# The classifier has to judge what the U-Net marks. A first one, whose probabilities are not used,
# is needed to find these marks; they become candidates.
luna train-cls "$out/cache" --config "$here/configs/tiny-cls.toml" --runs "$out/runs" --name first \
    --set train.epochs=1
luna evaluate "$out/cohort" --out "$out/marks" --set samples=0 --quiet \
    --weights "$out"/runs/segmentation-*/bundle --weights "$out"/runs/nodule-*-first/bundle
luna prep "$out/cohort" --cache "$out/cache-marks" --detections "$out/marks/detections.csv"
luna train-cls "$out/cache-marks" --config "$here/configs/tiny-cls.toml" --runs "$out/runs" \
    --name demo
for only in seg cls; do
    luna evaluate "$out/held-out" --only $only --out "$out/judged-$only" \
        --weights "$out"/runs/segmentation-*/bundle --weights "$out"/runs/nodule-*-demo/bundle
done
python "$here/scripts/plot_runs.py" "$out"/runs/*-demo --out "$out/curves.png"
echo "curves: $out/curves.png"
echo "watch:  tensorboard --logdir $out/runs"
