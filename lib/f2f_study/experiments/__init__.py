"""What the notebooks measure: data frames in and out.

| notebook | modules |
|---|---|
| 00 | `evaluation.standins` |
| 01 | `walkthrough` |
| 02 | `synthetic` |
| 03 | `beyond`, `matrices`; `planes` is their data |
| 04, 05 | `evaluation` |
| 06 | `products`, `products_gpu`, and what they share, `product_cases` |
| 08 | `hardware` |
| 09 | `formats` |
| several | `accounting`, `cases`, `model_rows`, `paper_values`, `timing` |
"""
