//! From tracing's events to lines.

use std::io::Write as _;

use jiff::Timestamp;
use tracing::{Event, Level, Subscriber, span};
use tracing_subscriber::{
    fmt::MakeWriter,
    layer::{Context, Layer},
    registry::LookupSpan,
};

use super::{OWN, entry::Fields};

/// Writes each event with the fields of the spans around it.
pub(super) struct GoPluginLayer<W> {
    writer: W,
}

impl<W> GoPluginLayer<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { writer }
    }
}

impl<S, W> Layer<S> for GoPluginLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().replace(fields);
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Fields::default();
        event.record(&mut own);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Fields>() {
                own.fill(outer);
            }
        }
        let metadata = event.metadata();
        let target = metadata.target();
        let mut level = *metadata.level();
        if !OWN.iter().any(|own| target.starts_with(own)) {
            own.insert("target", target.into());
            // The greater is the less severe.
            level = level.max(Level::INFO);
        }
        let line = own.into_line(level, Timestamp::now());
        // In one call, so that lines stay whole. A host that is gone reads no more logs.
        let _ = self.writer.make_writer_for(metadata).write_all(&line);
    }
}
