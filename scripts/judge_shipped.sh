#!/bin/sh
# Judge the shipped weights on scans of other seeds and other anatomy, beside the book's networks
# and the book's recipe: scripts/judge_shipped.sh OUT BOOK
#
# OUT holds what scripts/train_shipped.sh made and gets the held-out cohort and the evaluations;
# BOOK is the folder of the book's checkpoints. One to two hours on two cores, most of them for
# the book's recipe. Run again, it goes on where it was stopped.
set -eu
out=${1:?usage: scripts/judge_shipped.sh OUT BOOK}
book=${2:?usage: scripts/judge_shipped.sh OUT BOOK}
here=$(dirname "$0")
heldout=$out/heldout
runs=$out/runs
. "$here/steps.sh"

# judge NAME OPTIONS…: evaluate the held-out cohort.
judge() {
    name=$1
    shift
    once "$out/judged/$name/metrics.json" luna evaluate "$heldout" --out "$out/judged/$name" "$@"
}
# pair NAME OTHER: the difference of two evaluations of the same scans, with its interval.
pair() {
    once "$out/judged/$1-versus-$2/metrics.json" luna score "$out/judged/$1" \
        --versus "$out/judged/$2" --out "$out/judged/$1-versus-$2"
}

once "$heldout/seriesuids.csv" luna phantom "$heldout" --scans 40 --seed 9001 --workers 2 \
    --config heldout-cohort
judge shipped --weights shipped
once "$out/judged/malignancy/metrics.json" luna validate shipped "$heldout" \
    --role malignancy --out "$out/judged/malignancy"
judge book --weights "$book"
pair shipped book

# The book's recipe sees the same cohort and as many samples as the shipped networks did. Only
# the arithmetic is luna's.
fast='--set train.precision="auto" --set train.channels_last=true'
luna prep "$out/train" --cache "$out/cache-book" --set 'nodule_mask="book"'
# shellcheck disable=SC2086  # options are words
trained train-seg segmentation book "$out/cache-book" $fast --config book-seg \
    --set train.epochs=10 --set sampling.samples_per_epoch=16384
# shellcheck disable=SC2086
trained train-cls nodule book "$out/cache-book" $fast --config book-cls \
    --set train.epochs=8 --set sampling.samples_per_epoch=13088
judge recipe --weights "$runs"/segmentation-*-book/bundle --weights "$runs"/nodule-*-book/bundle
pair shipped recipe

# Whole slices in float32 take minutes a scan: the first ten.
head -10 "$heldout/seriesuids.csv" > "$out/ten.csv"
judge ten --series-list "$out/ten.csv" --weights shipped
judge ten-faithful --series-list "$out/ten.csv" --weights "$book" --faithful
pair ten ten-faithful
