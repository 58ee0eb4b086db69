"""What the forms of registers say: heads, widths, help."""

MARKS = ("数字产业化 digital_industrialisation", "产业数字化 industry_digitalisation")
COMPANY_HEADER: tuple[tuple[str, int], ...] = (  # header cell, column width
    ("统一社会信用代码\ncredit code", 22),
    ("企业名称\ncompany", 40),
    ("简称\nalias", 20),
    ("注册城市\ncity", 16),
    ("国家(地区)\ncountry", 14),
    ("行业门类\nindustry", 30),
    ("根企业\nroot", 40),
)
HOLDING_HEADER: tuple[tuple[str, int], ...] = (
    ("股东名称\nholder", 40),
    ("股东统一社会信用代码\nholder credit code", 24),
    ("被投资企业名称\ncompany held", 40),
    ("被投资企业统一社会信用代码\nheld credit code", 24),
    ("持股比例(%)\nshare", 14),
    ("截止日期\nas of", 14),
)
COMPANY_HELP: tuple[tuple[str, str], ...] = (
    (
        "一家企业一行；有统一社会信用代码的务必填写。",
        "One company a row; give the unified social credit code if there is one.",
    ),
    (
        "没有代码时按名称识别：请写全称，含“有限公司”等。",
        "Without a code the name counts: in full, with its legal form.",
    ),
    ("境外企业填国家(地区)，不填城市。", "Of a company overseas the country, no city."),
    ("根企业：典型企业选类别，其他企业留空。", "Root: the kind of a root enterprise; empty for all others."),
    ("标题中的年份是数据年份。", "The year in the title is the data year."),
)
HOLDING_HELP: tuple[tuple[str, str], ...] = (
    ("一位股东对一家企业的直接持股一行。", "One direct holding of one holder in one company a row."),
    ("比例按百分数填写：60 或 60%；同一企业之和不超过 100。", "Per cent, 60 or 60%; of one company at most 100."),
    ("截止日期留空时取标题中的年末。", "Without a date the end of the year in the title counts."),
    ("名称写全称；有代码的写代码，代码优先。", "Names in full; where there is a code it decides."),
    ("自持股份(库存股)可列出，不计入控制。", "Treasury shares may be listed: they do not count for control."),
)  # fmt: skip
