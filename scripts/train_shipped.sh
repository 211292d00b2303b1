#!/bin/sh
# Train the networks that luna ships, from nothing but seeds: scripts/train_shipped.sh OUT
#
# 120 synthetic scans, of which every tenth chooses the best epoch and the operating threshold.
# One to two hours on two cores with little else to do. Needs luna in PATH. Run again, it goes on
# where it was stopped.
set -eu
out=${1:?usage: scripts/train_shipped.sh OUT}
here=$(dirname "$0")/..
runs=$out/runs
. "$here/scripts/steps.sh"

once "$out/train/seriesuids.csv" luna phantom "$out/train" --scans 120 --seed 2001 \
    --workers 2 --config shipped-cohort
luna prep "$out/train" --cache "$out/cache1" --set 'slices="all"' --set spacing_mm=1.25
trained train-seg segmentation shipped "$out/cache1" --config shipped-seg

# What the U-Net marks is what the classifier has to judge: its marks become candidates. That
# takes a pipeline, and so a first classifier, whose probabilities are not used.
trained train-cls nodule first "$out/cache1" --config shipped-cls \
    --set train.epochs=1 --set sampling.samples_per_epoch=6400
# Half of the scans have enough of them.
find "$out/train" -name '*.mhd' -exec basename {} .mhd \; | LC_ALL=C sort | awk 'NR % 2' \
    > "$out/mine.csv"
once "$out/marks/detections.csv" luna evaluate "$out/train" --series-list "$out/mine.csv" \
    --out "$out/marks" --set samples=0 \
    --weights "$runs"/segmentation-*-shipped/bundle --weights "$runs"/nodule-*-first/bundle
luna prep "$out/train" --cache "$out/cache2" --set spacing_mm=1.25 \
    --detections "$out/marks/detections.csv"

trained train-cls nodule shipped "$out/cache2" --config shipped-cls
trained train-cls malignancy shipped "$out/cache2" --task malignancy \
    --config shipped-malignancy --unfreeze 6 \
    --init "$runs"/nodule-*-shipped/bundle

# The scans that chose the epochs choose the threshold too.
python "$here/scripts/ship_bundles.py" --validation "$out/cache2" --list "$out/validation.csv"
once "$out/calibrated" luna evaluate "$out/train" --series-list "$out/validation.csv" \
    --out "$out/validation" --weights "$runs"/segmentation-*-shipped/bundle \
    --weights "$runs"/nodule-*-shipped/bundle --weights "$runs"/malignancy-*-shipped/bundle \
    --set fp_per_scan=1.0 --calibrate "$out/calibrated"
python "$here/scripts/ship_bundles.py" --bundles "$out/calibrated" --ship "$here/src/luna/weights"
