"""Pages and figures of what `seesaw compare` and `seesaw ladder` measured, drawn from their JSON.

    python -m seesaw.report compare.json                     # as text: in short, then every table
    python -m seesaw.report compare.json -o report.html      # a page that fetches nothing
    python -m seesaw.report ladder.json -o climb.svg         # a figure

Works without the native library. Pages and figures need the extra: `pip install 'seesaw[report]'`.
"""
