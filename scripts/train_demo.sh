#!/bin/sh
# Train both networks on synthetic scans and judge them on others: scripts/train_demo.sh [OUT]
#
# 24 slabs of 100 mm with about five nodules each to train, of which every fourth chooses the
# best epoch, and 8 of another seed for the verdict. Needs luna in PATH, as `make train-demo` has.
set -eu
out=${1:-train-demo}
here=$(dirname "$0")/..
slabs() { luna phantom "$@" --workers 2 --quiet \
    --set slab_mm=100 --set without_nodules=0 --set extra_nodules=4; }
rm -rf "$out"
slabs "$out/cohort" --scans 24 --seed 11
slabs "$out/held-out" --scans 8 --seed 12
luna prep "$out/cohort" --cache "$out/cache" --set 'slices="all"'
luna train-seg "$out/cache" --config tiny-seg --runs "$out/runs" --name demo
luna train-cls "$out/cache" --config tiny-cls --runs "$out/runs" --name tables
luna validate "$out"/runs/segmentation-*/bundle "$out/held-out" --out "$out/judged-seg"
luna validate "$out"/runs/nodule-*-tables/bundle "$out/held-out" --out "$out/judged-cls"
# In the pipeline the classifier has to judge what the U-Net marks, so its marks become candidates,
# and a classifier that begins with the parts of the first learns from both.
luna evaluate "$out/cohort" --out "$out/marks" --set samples=0 --quiet \
    --weights "$out"/runs/segmentation-*/bundle --weights "$out"/runs/nodule-*-tables/bundle
luna prep "$out/cohort" --cache "$out/cache-marks" --detections "$out/marks/detections.csv"
luna train-cls "$out/cache-marks" --config tiny-cls --runs "$out/runs" \
    --name demo --init "$out"/runs/nodule-*-tables/bundle --unfreeze 6
python "$here/scripts/plot_runs.py" "$out"/runs/segmentation-*-demo "$out"/runs/nodule-*-tables \
    --out "$out/curves.png"
echo "curves: $out/curves.png"
echo "watch:  tensorboard --logdir $out/runs"
