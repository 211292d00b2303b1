#!/bin/sh
# Judge the shipped weights on scans of other seeds and other anatomy, beside the book's networks
# and the book's recipe: scripts/judge_shipped.sh OUT BOOK
#
# OUT holds what scripts/train_shipped.sh made and gets the held-out cohort and the evaluations;
# BOOK is the folder of the book's checkpoints. Two hours on two cores, most of them for the
# book's recipe and the book's own way of computing. Run again, it leaves out what is there; a
# training that was stopped has to be ended with `luna train-… --resume RUN` first.
set -eu
out=${1:?usage: scripts/judge_shipped.sh OUT BOOK}
book=${2:?usage: scripts/judge_shipped.sh OUT BOOK}
configs=$(dirname "$0")/../configs
heldout=$out/heldout

# once PATTERN COMMAND…: run the command unless what it makes is there.
once() {
    made=$1
    shift
    # shellcheck disable=SC2086  # the time in a run's name is not known
    (IFS=; test -e $made) || "$@"
}
# judge NAME OPTIONS…: evaluate the held-out cohort.
judge() {
    name=$1
    shift
    once "$out/judged/$name/metrics.json" luna evaluate "$heldout" --out "$out/judged/$name" "$@"
}

once "$heldout/seriesuids.csv" luna phantom "$heldout" --scans 40 --seed 9001 --processes 2 \
    --config "$configs/heldout-cohort.toml"
judge shipped --weights shipped
judge malignancy --weights shipped --only malignancy
judge book --weights "$book"

# The book's recipe sees the same cohort and as many samples as the shipped networks did. Only
# the arithmetic is luna's.
fast='--set train.precision="auto" --set train.channels_last=true'
luna prep "$out/train" --cache "$out/cache-book" --set 'nodule_mask="book"'
# shellcheck disable=SC2086  # options are words
once "$out/runs/segmentation-*-book/bundle" luna train-seg "$out/cache-book" $fast \
    --config "$configs/book-seg.toml" --runs "$out/runs" --name book \
    --set train.epochs=10 --set sampling.samples_per_epoch=16384
# shellcheck disable=SC2086
once "$out/runs/nodule-*-book/bundle" luna train-cls "$out/cache-book" $fast \
    --config "$configs/book-cls.toml" --runs "$out/runs" --name book \
    --set train.epochs=8 --set sampling.samples_per_epoch=13088
judge recipe --weights "$out"/runs/segmentation-*-book/bundle \
    --weights "$out"/runs/nodule-*-book/bundle

# Whole slices in float32 take minutes a scan: the first ten.
head -10 "$heldout/seriesuids.csv" > "$out/ten.csv"
judge ten --series-list "$out/ten.csv" --weights shipped
judge ten-faithful --series-list "$out/ten.csv" --weights "$book" --faithful

for pair in book recipe; do
    once "$out/judged/versus-$pair/metrics.json" luna evaluate \
        --detections "$out/judged/shipped/detections.csv" \
        --versus "$out/judged/$pair/detections.csv" --out "$out/judged/versus-$pair" \
        --annotations "$out/judged/shipped/annotations.csv" --series "$out/judged/shipped/series.csv"
done
