//! Random expressions by a grammar with types: most of them mean something, some of them are wrong on purpose.

/// A small generator of numbers; the seed decides everything.
pub struct Random {
    state: u64,
    /// Of a hundred leaves, how many are one of the variables `u0` to `u5`: a number, a text, a bool, a list of text, an object and
    /// a list of objects.
    pub variables: usize,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, variables: 0 }
    }

    pub fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n.max(1)
    }

    pub fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// What an expression should be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Number,
    Text,
    Bool,
    Numbers,
    Texts,
    Object,
    Objects,
    Any,
}

const KINDS: [Kind; 7] =
    [Kind::Number, Kind::Text, Kind::Bool, Kind::Numbers, Kind::Texts, Kind::Object, Kind::Objects];

/// An expression that is one line long.
pub fn expression(random: &mut Random, kind: Kind, depth: usize) -> String {
    // Now and then something of another kind, which is a conversion or an error.
    let kind = if random.below(18) == 0 || kind == Kind::Any { KINDS[random.below(KINDS.len())] } else { kind };
    if depth == 0 {
        return leaf(random, kind);
    }
    if random.below(12) == 0 {
        let (condition, a, b) = (
            expression(random, Kind::Bool, depth - 1),
            expression(random, kind, depth - 1),
            expression(random, kind, depth - 1),
        );
        return format!("({condition} ? {a} : {b})");
    }
    if random.below(25) == 0 {
        let (a, b) = (expression(random, kind, depth - 1), expression(random, kind, depth - 1));
        return format!("try({a}, {b})");
    }
    if random.below(40) == 0 {
        return "null".into();
    }
    let mut e = |kind| expression(random, kind, depth - 1);
    match kind {
        Kind::Number => number(random, depth),
        Kind::Text => text(random, depth),
        Kind::Bool => {
            let (n, m, s, t, l, a) =
                (e(Kind::Number), e(Kind::Number), e(Kind::Text), e(Kind::Text), e(Kind::Texts), e(Kind::Any));
            let (p, q) = (e(Kind::Bool), e(Kind::Bool));
            match random.below(14) {
                0 => format!("({n} < {m})"),
                1 => format!("({n} >= {m})"),
                2 => format!("({n} == {m})"),
                3 => format!("({s} == {t})"),
                4 => format!("({s} != {a})"),
                5 => format!("({p} && {q})"),
                6 => format!("({p} || {q})"),
                7 => format!("!{p}"),
                8 => format!("contains({l}, {s})"),
                9 => format!("startswith({s}, {t})"),
                10 => format!("endswith({s}, {t})"),
                11 => format!("can({a})"),
                12 => format!("alltrue([{p}, {q}])"),
                _ => format!("anytrue([{p}, {q}])"),
            }
        }
        Kind::Numbers => {
            let (n, m, l, o, p) = (e(Kind::Number), e(Kind::Number), e(Kind::Numbers), e(Kind::Objects), e(Kind::Bool));
            match random.below(12) {
                0 => format!("[{n}, {m}]"),
                1 => format!("[for x in {l} : x + {n}]"),
                2 => format!("[for i, x in {l} : x * i if {p}]"),
                3 => format!("{o}[*].n"),
                4 => format!("concat({l}, [{n}])"),
                5 => format!("tolist({l})"),
                6 => format!("distinct({l})"),
                7 => format!("reverse({l})"),
                8 => format!("range({n} % 7)"),
                9 => format!("slice({l}, 0, 1)"),
                10 => format!("flatten([{l}, [{n}]])"),
                _ => format!("toset({l})"),
            }
        }
        Kind::Texts => {
            let (s, t, l, o, b) = (e(Kind::Text), e(Kind::Text), e(Kind::Texts), e(Kind::Object), e(Kind::Bool));
            match random.below(17) {
                0 => format!("[{s}, {t}]"),
                1 => format!("split({s}, {t})"),
                2 => format!("[for x in {l} : upper(x)]"),
                3 => format!("[for x in {l} : \"${{x}}-${{length(x)}}\" if {b}]"),
                4 => format!("keys({o})"),
                5 => format!("sort({l})"),
                6 => format!("compact({l})"),
                7 => format!("distinct({l})"),
                8 => format!("concat({l}, [{s}])"),
                9 => format!("tolist({l})"),
                10 => format!("toset({l})"),
                11 => format!("formatlist(\"%s/%s\", {l}, {s})"),
                12 => format!("setunion({l}, [{s}])"),
                13 => format!("setsubtract({l}, [{s}])"),
                14 => format!("regexall(\"[a-z]+\", {s})"),
                15 => format!("coalescelist({l}, [{s}])"),
                _ => format!("chunklist({l}, 2)[0]"),
            }
        }
        Kind::Object => {
            let (n, s, l, o, p, b) =
                (e(Kind::Number), e(Kind::Text), e(Kind::Texts), e(Kind::Object), e(Kind::Objects), e(Kind::Bool));
            match random.below(12) {
                0 => format!("{{n = {n}, s = {s}, b = {b}}}"),
                1 => format!("{{n = {n}, s = {s}, l = {l}}}"),
                2 => format!("merge({o}, {{n = {n}}})"),
                3 => format!("{{for i, x in {l} : x => i...}}"),
                4 => format!("{{for x in {l} : \"k${{x}}\" => x if {b}}}"),
                5 => format!("zipmap({l}, {l})"),
                6 => format!("element({p}, {n})"),
                7 => format!("{p}[0]"),
                8 => format!("tomap({{a = {s}, b = {n}}})"),
                9 => format!("jsondecode(jsonencode({o}))"),
                10 => format!("{{for k, v in {o} : upper(k) => v}}"),
                _ => format!("{{({s}) = {n}, \"x\" = {b}}}"),
            }
        }
        Kind::Objects => {
            let (n, s, l, o, p) = (e(Kind::Number), e(Kind::Text), e(Kind::Texts), e(Kind::Object), e(Kind::Objects));
            match random.below(8) {
                0 => format!("[{{n = {n}, s = {s}}}, {{n = 2, s = \"b\"}}]"),
                1 => format!("[for x in {l} : {{n = length(x), s = x}}]"),
                2 => format!("tolist([{{n = {n}, s = {s}}}])"),
                3 => format!("concat({p}, [{o}])"),
                4 => format!("toset([{{n = {n}, s = {s}}}, {{n = 10, s = {s}}}])"),
                5 => format!("values({{a = {o}}})"),
                6 => format!("[for x in setproduct({l}, [1, 2]) : {{n = x[1], s = x[0]}}]"),
                _ => format!("[{o}, {o}]"),
            }
        }
        Kind::Any => leaf(random, Kind::Text),
    }
}

fn number(random: &mut Random, depth: usize) -> String {
    let mut e = |kind| expression(random, kind, depth - 1);
    let (n, m, s, t, l, o, a) = (
        e(Kind::Number),
        e(Kind::Number),
        e(Kind::Text),
        e(Kind::Texts),
        e(Kind::Numbers),
        e(Kind::Object),
        e(Kind::Any),
    );
    match random.below(26) {
        0 => format!("({n} + {m})"),
        1 => format!("({n} - {m})"),
        2 => format!("({n} * {m})"),
        3 => format!("({n} / {m})"),
        4 => format!("({n} % {m})"),
        5 => format!("-{n}"),
        6 => format!("length({s})"),
        7 => format!("length({a})"),
        8 => format!("max({n}, {m})"),
        9 => format!("min({l}...)"),
        10 => format!("sum({l})"),
        11 => format!("floor({n})"),
        12 => format!("ceil({n} / 3)"),
        13 => format!("abs({n})"),
        14 => format!("signum({n})"),
        15 => format!("{l}[0]"),
        16 => format!("element({l}, {n})"),
        17 => format!("{o}.n"),
        18 => format!("tonumber({s})"),
        19 => format!("index({t}, {s})"),
        20 => format!("pow({n}, 2)"),
        21 => format!("lookup({o}, \"n\", {m})"),
        22 => format!("coalesce({n}, {m})"),
        23 => format!("parseint({s}, 16)"),
        24 => format!("log(abs({n}) + 1, 10)"),
        _ => format!("one([{n}])"),
    }
}

fn text(random: &mut Random, depth: usize) -> String {
    let mut e = |kind| expression(random, kind, depth - 1);
    let (s, t, n, m, l, o, b, a) = (
        e(Kind::Text),
        e(Kind::Text),
        e(Kind::Number),
        e(Kind::Number),
        e(Kind::Texts),
        e(Kind::Object),
        e(Kind::Bool),
        e(Kind::Any),
    );
    match random.below(34) {
        0 => format!("upper({s})"),
        1 => format!("lower({s})"),
        2 => format!("title({s})"),
        3 => format!("join({s}, {l})"),
        4 => format!("replace({s}, {t}, {s})"),
        5 => format!("substr({s}, {n}, {m})"),
        6 => format!("trimspace({s})"),
        7 => format!("trim({s}, {t})"),
        8 => format!("trimprefix({s}, {t})"),
        9 => format!("strrev({s})"),
        10 => format!("format(\"%s=%v\", {s}, {a})"),
        11 => format!("format(\"%05.1f|%d|%q\", {n}, {m}, {s})"),
        12 => format!("\"<${{{s}}}|${{{n}}}>\""),
        13 => format!("\"%{{ if {b} }}${{{s}}}%{{ else }}-%{{ endif }}\""),
        14 => format!("\"%{{ for x in {l} }}${{x}},%{{ endfor }}\""),
        15 => format!("tostring({n})"),
        16 => format!("jsonencode({a})"),
        17 => format!("{l}[1]"),
        18 => format!("{o}.s"),
        19 => format!("{o}[\"s\"]"),
        20 => format!("sha256({s})"),
        21 => format!("md5({s})"),
        22 => format!("base64encode({s})"),
        23 => format!("base64decode(base64encode({s}))"),
        24 => format!("urlencode({s})"),
        25 => format!("indent(2, {s})"),
        26 => format!("chomp({s})"),
        27 => format!("coalesce({s}, {t})"),
        28 => format!("lookup({o}, {s}, {t})"),
        29 => format!("yamlencode({o})"),
        30 => format!("regex(\"[a-z]\", {s})"),
        31 => format!("element({l}, {n})"),
        32 => format!("cidrsubnet(\"10.0.0.0/8\", 8, {n})"),
        _ => format!("type_free({s})").replace("type_free", "nonsensitive"),
    }
}

fn leaf(random: &mut Random, kind: Kind) -> String {
    if random.below(100) < random.variables {
        return match kind {
            Kind::Number => "u0",
            Kind::Text => "u1",
            Kind::Bool => "u2",
            Kind::Numbers => "[u0, u0]",
            Kind::Texts => "u3",
            Kind::Object => "u4",
            Kind::Objects => "u5",
            Kind::Any => "u1",
        }
        .into();
    }
    match kind {
        Kind::Number => random
            .pick(&["0", "1", "2", "7", "10", "255", "0.1", "2.5", "1e3", "100.25", "\"3\"", "-4", "1.10", "0.333"]),
        Kind::Text => random.pick(&[
            "\"\"",
            "\"a\"",
            "\"abc\"",
            "\"Hello World\"",
            "\"x-y_z\"",
            "\"10\"",
            "\"true\"",
            "\"é✓\"",
            "\" pad \"",
            "\"l1\\nl2\\n\"",
            "\"<&>\"",
            "\"s\"",
            "\"ff\"",
        ]),
        Kind::Bool => random.pick(&["true", "false", "\"true\"", "\"false\"", "true"]),
        Kind::Numbers => {
            random.pick(&["[]", "[1]", "[3, 1, 2]", "[1, \"2\"]", "tolist([5, 5, 6])", "toset([9, 10])", "[0.5, 1.5]"])
        }
        Kind::Texts => random.pick(&[
            "[]",
            "[\"a\"]",
            "[\"b\", \"a\", \"b\"]",
            "[\"x\", 1, true]",
            "tolist([\"q\", \"\"])",
            "toset([\"m\", \"k\"])",
            "[\"a\", null]",
        ]),
        Kind::Object => random.pick(&[
            "{}",
            "{n = 1, s = \"a\"}",
            "{a = \"x\", b = \"y\"}",
            "tomap({k = \"v\"})",
            "{n = 2, s = null, l = [1]}",
        ]),
        Kind::Objects => random.pick(&[
            "[]",
            "[{n = 1, s = \"a\"}]",
            "[{n = 1, s = \"a\"}, {n = 2, s = \"b\"}]",
            "tolist([{n = 3, s = \"c\"}])",
        ]),
        Kind::Any => "null",
    }
    .into()
}
