#!/bin/sh
# Train the networks that luna ships, from nothing but seeds: scripts/train_shipped.sh OUT [EDITION]
#
# 120 synthetic scans, of which every tenth chooses the best epoch and the operating threshold.
# Edition 1, which the package holds, takes one to two hours on two cores with little else to do;
# edition 2, whose networks see voxels of one size, about four. Needs luna in PATH. Run again, it
# goes on where it was stopped. The bundles go to $SHIP, else into the package.
set -eu
out=${1:?usage: scripts/train_shipped.sh OUT [EDITION]}
edition=${2:-1}
here=$(dirname "$0")/..
runs=$out/runs
. "$here/scripts/steps.sh"

# marked NAME OPTIONS…: what a pipeline marks on some scans. A classifier is needed too; its
# probabilities are not used.
marked() {
    name=$1
    shift
    once "$out/$name/detections.csv" luna evaluate "$out/train" --out "$out/$name" \
        --set samples=0 --weights "$runs"/nodule-*-first/bundle "$@"
}
# listed SUBSETS: the series of some subsets, in the order of their names.
listed() {
    find "$out/train" -path "*/subset[$1]/*.mhd" -exec basename {} .mhd \; | LC_ALL=C sort
}

once "$out/train/seriesuids.csv" luna phantom "$out/train" --scans 120 --seed 2001 \
    --workers 2 --config shipped-cohort

# What the U-Net marks is what the classifier has to judge: its marks become candidates.
case $edition in
1)
    recipe=shipped cubes_mm=1.25
    luna prep "$out/train" --cache "$out/cache1" --set 'slices="all"' --set spacing_mm=1.25
    trained train-seg segmentation shipped "$out/cache1" --config shipped-seg
    trained train-cls nodule first "$out/cache1" --config shipped-cls \
        --set train.epochs=1 --set sampling.samples_per_epoch=6400
    # Half of the scans have enough of them.
    listed 0-9 | awk 'NR % 2' > "$out/mine.csv"
    marked marks --series-list "$out/mine.csv" --weights "$runs"/segmentation-*-shipped/bundle
    marks=$out/marks/detections.csv
    ;;
2)
    recipe=second cubes_mm=3.2 # cubes of 96 mm and what their voxels average
    luna prep "$out/train" --cache "$out/cache1" --set 'slices="all"'
    trained train-seg segmentation shipped "$out/cache1" --config second-seg
    # A U-Net marks less wrongly where it learned: one for each half marks the other.
    half='--config second-seg --set train.epochs=5 --set split.method="folds"'
    # shellcheck disable=SC2086  # options are words
    trained train-seg segmentation odd "$out/cache1" $half \
        --set split.test_fold=0 --set 'split.more_test_folds=[2, 4, 6, 8]'
    # shellcheck disable=SC2086
    trained train-seg segmentation even "$out/cache1" $half \
        --set split.test_fold=1 --set 'split.more_test_folds=[3, 5, 7, 9]'
    trained train-cls nodule first "$out/cache1" --config second-cls \
        --set train.epochs=1 --set sampling.samples_per_epoch=6400 \
        --set 'network.scales_mm=[]' --set network.spacing_mm=1.25
    listed 02468 > "$out/even.csv"
    listed 13579 > "$out/odd.csv"
    marked marks-even --series-list "$out/even.csv" --weights "$runs"/segmentation-*-odd/bundle
    marked marks-odd --series-list "$out/odd.csv" --weights "$runs"/segmentation-*-even/bundle
    marks=$out/marks.csv
    awk 'FNR > 1 || NR == 1' "$out"/marks-*/detections.csv > "$marks"
    ;;
*)
    echo "edition is $edition, must be 1 or 2" >&2
    exit 2
    ;;
esac
luna prep "$out/train" --cache "$out/cache2" --set "spacing_mm=$cubes_mm" --detections "$marks"

trained train-cls nodule shipped "$out/cache2" --config "$recipe-cls"
trained train-cls malignancy shipped "$out/cache2" --task malignancy \
    --config "$recipe-malignancy" --unfreeze 6 \
    --init "$runs"/nodule-*-shipped/bundle

# The scans that chose the epochs choose the threshold too.
python "$here/scripts/ship_bundles.py" --validation "$out/cache2" --list "$out/validation.csv"
once "$out/calibrated" luna evaluate "$out/train" --series-list "$out/validation.csv" \
    --out "$out/validation" --weights "$runs"/segmentation-*-shipped/bundle \
    --weights "$runs"/nodule-*-shipped/bundle --weights "$runs"/malignancy-*-shipped/bundle \
    --set fp_per_scan=1.0 --calibrate "$out/calibrated"
python "$here/scripts/ship_bundles.py" --bundles "$out/calibrated" \
    --ship "${SHIP:-$here/src/luna/weights}"
