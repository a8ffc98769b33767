//! A diagnostic as text: source lines with the places marked, notes, and a hint.

use super::{Diagnostic, Label, Severity, Sources};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet, renderer::DecorStyle};
use std::ops::Range;
use weft_grammar::FileId;

/// Whether escape codes may colour the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    Always,
    Never,
}

/// The diagnostic as a person reads it. Ends without a newline.
pub fn render(diagnostic: &Diagnostic, sources: &Sources, color: Color) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group: Group<'_> = level
        .primary_title(diagnostic.message.as_str())
        .id(diagnostic.code)
        .elements(snippets(diagnostic, sources));
    for note in &diagnostic.notes {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    if let Some(hint) = &diagnostic.hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    let renderer = match color {
        Color::Always => Renderer::styled(),
        Color::Never => Renderer::plain(),
    };
    renderer.decor_style(DecorStyle::Ascii).render(&[group])
}

/// One snippet a file, the primary's first.
fn snippets<'a>(
    diagnostic: &'a Diagnostic,
    sources: &'a Sources,
) -> Vec<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let mut files: Vec<FileId> = vec![diagnostic.primary.span.file];
    for label in &diagnostic.related {
        if !files.contains(&label.span.file) {
            files.push(label.span.file);
        }
    }
    let mut snippets = Vec::new();
    for file in files {
        let Some(source) = sources.get(file) else { continue };
        let mut snippet = Snippet::source(source.text.as_str()).path(source.name.as_str());
        if diagnostic.primary.span.file == file {
            snippet =
                snippet.annotation(annotation(AnnotationKind::Primary, &diagnostic.primary, &source.text));
        }
        for label in diagnostic.related.iter().filter(|l| l.span.file == file) {
            snippet = snippet.annotation(annotation(AnnotationKind::Context, label, &source.text));
        }
        snippets.push(snippet);
    }
    snippets
}

fn annotation<'a>(kind: AnnotationKind, label: &'a Label, text: &str) -> annotate_snippets::Annotation<'a> {
    let annotation = kind.span(within(label.span.start as usize..label.span.end as usize, text));
    if label.text.is_empty() { annotation } else { annotation.label(label.text.as_str()) }
}

/// The range cut to the text and to whole characters, so that no span can make the renderer fail.
fn within(range: Range<usize>, text: &str) -> Range<usize> {
    let floor = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(range.start);
    start..floor(range.end).max(start)
}
