//! Charts of lines, drawn as SVG in the page's own colours.
//!
//! A chart is as wide as its card, so that its text keeps its size on a phone. Points lie in a `data-` attribute too, for the script
//! that shows the values under the pointer; without the script the drawing is whole.

use super::html;
use std::fmt::Write;

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 230.0;
/// Room for the numbers at the left and below.
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;
/// More points than this are thinned out: a line has no more places.
const MAX_POINTS: usize = 800;
/// Positive values that differ more than this are drawn over a logarithmic axis.
const LOGARITHMIC_FROM: f64 = 50.0;

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    pub name: String,
    /// The class that gives its colour: `train`, `validation`, `c0` … `c7`.
    pub class: String,
    pub points: Vec<(f64, f64)>,
}

#[derive(Clone, Debug, Default)]
pub struct Chart {
    pub title: String,
    pub lines: Vec<Line>,
    /// A place along the axis that is pointed out, and what it is called.
    pub mark: Option<(f64, String)>,
    /// What the axis counts: `epoch`.
    pub axis: &'static str,
    /// Never over a logarithmic axis.
    pub linear: bool,
}

/// How values become places.
struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
    from: f64,
    to: f64,
}

impl Scale {
    fn place(&self, value: f64) -> f64 {
        let (value, low, high) = match self.logarithmic {
            true => (value.max(f64::MIN_POSITIVE).log10(), self.low.log10(), self.high.log10()),
            false => (value, self.low, self.high),
        };
        let share = if high > low { (value - low) / (high - low) } else { 0.5 };
        self.from + share * (self.to - self.from)
    }

    /// The values at which lines are drawn.
    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let decades = (self.low.log10().ceil() as i32)..=(self.high.log10().floor() as i32);
            return decades.map(|power| 10f64.powi(power)).collect();
        }
        let step = nice((self.high - self.low) / 6.0);
        let first = (self.low / step).ceil() as i64;
        (first..first + 8).map(|n| n as f64 * step).take_while(|t| *t <= self.high + step * 1e-6).collect()
    }
}

/// 1, 2 or 5 times a power of ten, the first that is not smaller.
fn nice(step: f64) -> f64 {
    if !step.is_finite() || step <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|m| *m >= step * 0.999_999).unwrap_or(step)
}

fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|v| v.is_finite()).fold(None, |range, v| {
        let (low, high) = range.unwrap_or((v, v));
        Some((f64::min(low, v), f64::max(high, v)))
    })
}

impl Chart {
    /// The chart with its title and legend; nothing where there is no number to draw.
    pub fn card(&self) -> String {
        let Some(svg) = self.svg() else { return String::new() };
        let legend: String = self
            .lines
            .iter()
            .map(|line| {
                let last = line
                    .points
                    .iter()
                    .rfind(|(_, y)| y.is_finite())
                    .map_or(String::new(), |(_, y)| html::number(*y));
                format!("<span class=\"key {}\">{} <b>{last}</b></span>", line.class, html::text(&line.name))
            })
            .collect();
        format!(
            "<figure class=\"card chart\"><figcaption><span class=\"title\">{}</span><span class=\"legend\">{legend}</span></figcaption>\n{svg}</figure>\n",
            html::text(&self.title)
        )
    }

    fn svg(&self) -> Option<String> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let (first, last) = bounds(points().map(|(x, _)| *x))?;
        let (low, high) = bounds(points().map(|(_, y)| *y))?;
        let logarithmic = !self.linear && low > 0.0 && high / low > LOGARITHMIC_FROM;
        let room = if logarithmic {
            0.0
        } else if high > low {
            0.06 * (high - low)
        } else {
            // One value alone: a tenth of it to both sides.
            if high == 0.0 { 1.0 } else { high.abs() * 0.1 }
        };
        let (low, high) = match logarithmic {
            true => (low / 1.2, high * 1.2),
            // What is never negative has no room below zero.
            false => (if low >= 0.0 { (low - room).max(0.0) } else { low - room }, high + room),
        };
        let y = Scale { low, high, logarithmic, from: HEIGHT - BOTTOM, to: TOP };
        let x = Scale { low: first, high: last, logarithmic: false, from: LEFT, to: WIDTH - RIGHT };

        let mut out = String::new();
        let label = format!("{} over {}s", self.title, self.axis);
        let _ = write!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\" data-plot=\"{LEFT},{TOP},{},{}\" data-axis=\"{}\" data-lines=\"{}\">",
            html::text(&label),
            WIDTH - RIGHT,
            HEIGHT - BOTTOM,
            self.axis,
            html::text(&self.data()),
        );
        for tick in y.ticks() {
            let at = y.place(tick);
            let _ = write!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{:.1}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 7.0,
                at + 3.5,
                tick_text(tick)
            );
        }
        for tick in x.ticks().into_iter().filter(|t| t.fract() == 0.0 && *t >= first) {
            let at = x.place(tick);
            let _ = write!(
                out,
                "<text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                HEIGHT - BOTTOM + 16.0,
                tick_text(tick)
            );
        }
        let _ = write!(out, "<path class=\"axis\" d=\"M{LEFT} {0}H{1}\"/>", HEIGHT - BOTTOM, WIDTH - RIGHT);
        if let Some((at, name)) = &self.mark {
            let place = x.place(*at);
            let (anchor, shift) = if place > WIDTH * 0.7 { ("end", -5.0) } else { ("start", 5.0) };
            let _ = write!(
                out,
                "<path class=\"mark\" d=\"M{place:.1} {TOP}V{}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                HEIGHT - BOTTOM,
                place + shift,
                TOP + 9.0,
                html::text(name)
            );
        }
        for line in &self.lines {
            out += &drawn(line, &x, &y);
            let marked = self.mark.as_ref().and_then(|(at, _)| line.points.iter().find(|(x, _)| x == at));
            if let Some((px, py)) = marked.filter(|(_, py)| py.is_finite()) {
                let _ = write!(
                    out,
                    "<circle class=\"dot {}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\"/>",
                    line.class,
                    x.place(*px),
                    y.place(*py)
                );
            }
        }
        out += "<path class=\"cross\" d=\"\"/></svg>\n";
        Some(out)
    }

    /// `{"x":[1,2],"lines":[["train","train",[0.5,0.4]]]}`: for the script.
    fn data(&self) -> String {
        let mut all: Vec<f64> =
            self.lines.iter().flat_map(|line| line.points.iter().map(|(x, _)| *x)).collect();
        all.sort_by(f64::total_cmp);
        all.dedup();
        let places = thinned(&all);
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|line| {
                let value =
                    |x: f64| line.points.iter().find(|(px, _)| *px == x).map(|(_, y)| html::number(*y));
                (
                    line.name.as_str(),
                    line.class.as_str(),
                    places.iter().map(|x| value(*x)).collect::<Vec<_>>(),
                )
            })
            .collect();
        serde_json::json!({ "x": places, "lines": lines }).to_string()
    }
}

/// The path of a line, broken where a value is no number; a single point is a dot.
fn drawn(line: &Line, x: &Scale, y: &Scale) -> String {
    let points = thinned(&line.points);
    let (mut path, mut pen_is_up) = (String::new(), true);
    for (px, py) in &points {
        if py.is_finite() {
            let _ =
                write!(path, "{}{:.1} {:.1}", if pen_is_up { 'M' } else { 'L' }, x.place(*px), y.place(*py));
        }
        pen_is_up = !py.is_finite();
    }
    match points.as_slice() {
        [(px, py)] if py.is_finite() => {
            format!(
                "<circle class=\"dot {}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>",
                line.class,
                x.place(*px),
                y.place(*py)
            )
        }
        _ => format!("<path class=\"line {}\" d=\"{path}\"/>", line.class),
    }
}

/// Not more than so many of them, the last one always.
fn thinned<T: Copy>(points: &[T]) -> Vec<T> {
    let every = points.len().div_ceil(MAX_POINTS).max(1);
    let last = points.len().saturating_sub(1);
    points
        .iter()
        .enumerate()
        .filter(|(at, _)| at % every == 0 || *at == last)
        .map(|(_, point)| *point)
        .collect()
}

/// A tick's number without zeros at its end.
pub fn tick_text(value: f64) -> String {
    let text = html::number(value);
    match text.split_once('e') {
        Some((mantissa, power)) => format!("{}e{power}", shortened(mantissa)),
        None => shortened(&text).to_owned(),
    }
}

fn shortened(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: &[(f64, f64)]) -> Chart {
        let line = Line { name: "<train>".into(), class: "train".into(), points: points.to_vec() };
        Chart { title: "loss".into(), lines: vec![line], mark: None, axis: "epoch", linear: false }
    }

    #[test]
    fn values_stand_where_they_belong() {
        let svg = chart(&[(1.0, 0.0), (2.0, 5.0), (3.0, 10.0)]).svg().unwrap();
        // Half-way along, and at 5 of 0 to 10.6.
        let y = 204.0 - 194.0 * 5.0 / 10.6;
        assert!(svg.contains(&format!("L230.0 {y:.1}L")), "{svg}");
        assert!(svg.contains("&lt;train&gt;") && !svg.contains("<train>"), "{svg}");
    }

    #[test]
    fn a_line_breaks_where_there_is_no_number_and_a_wide_range_is_logarithmic() {
        let svg = chart(&[(1.0, 100.0), (2.0, f64::NAN), (3.0, 0.1)]).svg().unwrap();
        let path = svg.split("class=\"line train\" d=\"").nth(1).unwrap();
        assert_eq!(path.split('"').next().unwrap().matches('M').count(), 2, "{svg}");
        assert!(!svg.contains("NaN\""), "{svg}");
        for tick in [">100<", ">10<", ">1<", ">0.1<"] {
            assert!(svg.contains(tick), "{tick} {svg}");
        }
        assert_eq!(chart(&[(1.0, f64::NAN)]).card(), "");
    }
}
