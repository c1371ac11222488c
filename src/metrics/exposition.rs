//! The two text formats of the metrics, and the choice between them for a scraper.
//!
//! OpenMetrics 1.0 and the Prometheus text format 0.0.4 differ in their headers. In 0.0.4 the name
//! of a family of counters ends in `_total`, the type `info` does not exist, and no line marks the
//! end.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

/// A format of the metrics' text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// OpenMetrics 1.0, for scrapers that name it in `Accept`.
    OpenMetrics,
    /// Prometheus text format 0.0.4, which every tool reads.
    Text,
}

impl Form {
    /// The format that an `Accept` header prefers; without a header it is [`Form::Text`].
    pub fn accepted(accept: Option<&str>) -> Self {
        let (mut open_metrics, mut text) = (0, 0);
        for range in accept.unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut weight, mut version) = (WEIGHT_MAX, None);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match name.trim() {
                    "q" | "Q" => weight = weight_of(value.trim()),
                    "version" => version = Some(value.trim().trim_matches('"')),
                    _ => {}
                }
            }
            match kind.as_str() {
                "application/openmetrics-text" if version.is_none_or(|v| v == "1.0.0") => {
                    open_metrics = open_metrics.max(weight);
                }
                // Only a scraper that names OpenMetrics in its header can be expected to read it.
                "text/plain" | "text/*" | "*/*" => text = text.max(weight),
                _ => {}
            }
        }
        if open_metrics > 0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// The value of the header `Content-Type` for this format.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Converts a page of OpenMetrics to this format.
    pub(super) fn write(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Text => as_text(&open_metrics),
        }
    }
}

const WEIGHT_MAX: u32 = 1000;

/// The weight `q` in thousandths. An invalid one counts as 0.001, the least.
fn weight_of(text: &str) -> u32 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = format!("{whole}{fraction:0<3}");
    match digits.parse() {
        Ok(weight) if fraction.len() <= 3 && weight <= WEIGHT_MAX => weight,
        _ => 1,
    }
}

fn as_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = None;
    for line in open_metrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            // The line is kept until the next one: there the type decides the family's name.
            (Some("#"), Some("HELP"), Some(_), said) => help = said,
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (name, kind) = match kind {
                    "counter" => (format!("{name}_total"), kind),
                    "info" => (format!("{name}_info"), "gauge"),
                    _ => (name.to_owned(), kind),
                };
                if let Some(help) = help.take() {
                    text.push_str(&format!("# HELP {name} {help}\n"));
                }
                text.push_str(&format!("# TYPE {name} {kind}\n"));
            }
            (Some("#"), ..) => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_one_that_is_asked_for() {
        let prometheus = "application/openmetrics-text;version=1.0.0,\
                          application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let newer = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                     application/openmetrics-text;version=0.0.1;q=0.5,\
                     text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for accept in [
            prometheus,
            newer,
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; version=\"1.0.0\"; charset=utf-8",
            "text/plain; q=0.5, application/openmetrics-text; q=0.5",
        ] {
            assert_eq!(Form::accepted(Some(accept)), Form::OpenMetrics, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/plain",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;q=0.8",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.000,*/*;q=0.001",
            "application/openmetrics-text;version=2.0.0",
            ";;;=,,q=,application/",
        ] {
            assert_eq!(Form::accepted(Some(accept)), Form::Text, "{accept}");
        }
        assert_eq!(Form::accepted(None), Form::Text);
    }

    #[test]
    fn headers_name_what_their_samples_are_called() {
        let page = "# HELP c_a Things.\n# TYPE c_a counter\nc_a_total{x=\"# TYPE\"} 1\n\
                    # HELP c_b Build.\n# TYPE c_b info\nc_b_info{v=\"1\"} 1\n\
                    # HELP c_c_seconds Time.\n# TYPE c_c_seconds gauge\n# UNIT c_c_seconds seconds\n\
                    c_c_seconds 2.0\n# EOF\n";
        let text = "# HELP c_a_total Things.\n# TYPE c_a_total counter\nc_a_total{x=\"# TYPE\"} 1\n\
                    # HELP c_b_info Build.\n# TYPE c_b_info gauge\nc_b_info{v=\"1\"} 1\n\
                    # HELP c_c_seconds Time.\n# TYPE c_c_seconds gauge\nc_c_seconds 2.0\n";
        assert_eq!(Form::Text.write(page.to_owned()), text);
        assert_eq!(Form::OpenMetrics.write(page.to_owned()), page);
    }
}
