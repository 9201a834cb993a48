//! Pictures as inline SVG. Colours come from the page's style through classes, so that they follow light, dark and print.

pub(crate) mod contrast;
pub(crate) mod curves;
pub(crate) mod spread;

use std::fmt::Write;

/// A picture under construction. Coordinates are pixels at the picture's own width; the page scales it down.
pub(crate) struct Canvas {
    width: f64,
    height: f64,
    body: String,
}

impl Canvas {
    pub(crate) fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    pub(crate) fn line(&mut self, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
        self.add(format_args!(
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        ));
    }

    pub(crate) fn rectangle(&mut self, class: &str, [x, y, width, height]: [f64; 4]) {
        self.add(format_args!(
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#
        ));
    }

    /// A dot; `title` is what a pointer that rests on it is told.
    pub(crate) fn dot(&mut self, class: &str, [x, y]: [f64; 2], radius: f64, title: &str) {
        let title = escape(title);
        self.add(format_args!(
            r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{radius:.1}"><title>{title}</title></circle>"#
        ));
    }

    pub(crate) fn path(&mut self, class: &str, points: &[[f64; 2]], closed: bool) {
        let mut data = String::new();
        for (index, [x, y]) in points.iter().enumerate() {
            let _ = write!(data, "{}{x:.1} {y:.1}", if index == 0 { "M" } else { "L" });
        }
        if closed {
            data.push('Z');
        }
        self.add(format_args!(r#"<path class="{class}" d="{data}"/>"#));
    }

    /// Text whose `anchor` is `start`, `middle` or `end`.
    pub(crate) fn text(&mut self, class: &str, [x, y]: [f64; 2], anchor: &str, text: &str) {
        let text = escape(text);
        self.add(format_args!(
            r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
        ));
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = self.body.write_fmt(element);
    }

    /// The picture; `description` is what a screen reader says instead.
    pub(crate) fn finish(self, description: &str) -> String {
        let Self { width, height, body } = self;
        let description = escape(description);
        format!(
            r#"<svg class="chart" role="img" aria-label="{description}" viewBox="0 0 {width:.0} {height:.0}">{body}</svg>"#
        )
    }
}

/// A text as it stands in markup.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A scale from numbers to pixels.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) domain: [f64; 2],
    pub(crate) range: [f64; 2],
}

impl Scale {
    pub(crate) fn at(&self, value: f64) -> f64 {
        let [low, high] = self.domain;
        let share = if high > low { (value - low) / (high - low) } else { 0.5 };
        self.range[0] + share * (self.range[1] - self.range[0])
    }
}

/// Steps of 1, 2 or 5 times a power of ten, at most `most` of them within `low..=high`.
pub(crate) fn ticks(low: f64, high: f64, most: usize) -> Vec<f64> {
    let span = (high - low).max(1e-9);
    let power = 10f64.powf((span / most as f64).log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| span / step <= most as f64);
    let step = step.unwrap_or(10.0 * power);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|index| index as f64 * step).collect()
}

/// Moves places apart until neighbours are at least `gap` from each other, keeping their order and within `low..=high` as far as
/// there is room.
pub(crate) fn spread_out(places: &[f64], gap: f64, [low, high]: [f64; 2]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|&left, &right| places[left].total_cmp(&places[right]));
    let mut moved = places.to_vec();
    let mut least = low;
    for &index in &order {
        moved[index] = moved[index].max(least);
        least = moved[index] + gap;
    }
    let mut most = high;
    for &index in order.iter().rev() {
        moved[index] = moved[index].min(most);
        most = moved[index] - gap;
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(0.2, 0.93, 5), [0.2, 0.4, 0.6000000000000001, 0.8]);
        assert_eq!(ticks(-5.0, 26.0, 8), [-5.0, 0.0, 5.0, 10.0, 15.0, 20.0, 25.0]);
    }

    #[test]
    fn labels_do_not_touch() {
        let moved = spread_out(&[10.0, 11.0, 50.0], 12.0, [0.0, 60.0]);
        assert_eq!(moved, [10.0, 22.0, 50.0]);
        assert_eq!(spread_out(&[58.0, 59.0], 12.0, [0.0, 60.0]), [48.0, 60.0]);
    }

    #[test]
    fn text_cannot_break_out_of_markup() {
        let mut canvas = Canvas::new(10.0, 10.0);
        canvas.text("label", [0.0, 0.0], "start", "<script>\"&");
        assert!(canvas.finish("a \"b\"").contains(">&lt;script&gt;&quot;&amp;</text>"));
    }
}
