//! Small line charts as SVG.

/// A line: name, colour, one value for each step.
pub struct Line<'a> {
    pub name: &'a str,
    pub colour: &'a str,
    pub values: Vec<f64>,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 50.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 36.0;

/// `marks`: labels of the time axis with their step.
pub fn svg(title: &str, unit: &str, lines: &[Line<'_>], marks: &[(usize, String)]) -> String {
    let steps = lines.iter().map(|l| l.values.len()).max().unwrap_or(0).max(2);
    let most = lines.iter().flat_map(|l| l.values.iter().copied()).fold(1.0, f64::max) * 1.05;
    let x = |step: usize| LEFT + (WIDTH - LEFT - 10.0) * step as f64 / (steps - 1) as f64;
    let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / most;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"16\" font-size=\"14\">{title}</text>\n"
    );
    for part in 0..=4 {
        let value = most * f64::from(part) / 4.0;
        let at = y(value);
        out.push_str(&format!(
            "<path d=\"M{LEFT} {at:.1}H{}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" \
             text-anchor=\"end\">{value:.0}</text>\n",
            WIDTH - 10.0,
            LEFT - 6.0,
            at + 4.0
        ));
    }
    out.push_str(&format!("<text x=\"8\" y=\"{}\">{unit}</text>\n", TOP - 8.0));
    for (step, label) in marks {
        let (at, bottom) = (x(*step), HEIGHT - BOTTOM + 16.0);
        out.push_str(&format!("<text x=\"{at:.1}\" y=\"{bottom}\" text-anchor=\"middle\">{label}</text>\n"));
    }
    for (i, line) in lines.iter().enumerate() {
        let points: Vec<String> =
            line.values.iter().enumerate().map(|(step, v)| format!("{:.1},{:.1}", x(step), y(*v))).collect();
        out.push_str(&format!(
            "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\" points=\"{}\"/>\n",
            line.colour,
            points.join(" ")
        ));
        let at = LEFT + 10.0 + 200.0 * i as f64;
        out.push_str(&format!(
            "<text x=\"{at}\" y=\"{}\" fill=\"{}\">{}</text>\n",
            HEIGHT - 4.0,
            line.colour,
            line.name
        ));
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_each_line_and_stays_inside() {
        let lines = [Line { name: "load", colour: "#000", values: vec![0.0, 5.0, 10.0] }];
        let text = svg("A day", "instances", &lines, &[(0, "00:00".into())]);
        assert!(text.contains(">load</text>") && text.contains(">00:00</text>"));
        assert!(text.contains("points=\"50.0,264.0 400.0,157.3 750.0,50.7\""), "{text}");
    }
}
