//! The XML that Storage answers with, element by element.

use percent_encoding::percent_decode_str;
use quick_xml::{
    Reader,
    escape::resolve_xml_entity,
    events::{BytesRef, BytesStart, Event},
};

use crate::azure::failure::Failure;

/// Shows the path (`EnumerationResults/Blobs/Blob/Name`) and the text of each element of `xml` to `found`, in the
/// order in which they end.
pub(super) fn read(xml: &[u8], found: impl FnMut(&str, &str)) -> Result<(), Failure> {
    // Not the answer itself: it may hold a key.
    elements(xml, found)
        .map_err(|why| Failure::Malformed(format!("the answer is not Storage's XML: {why}")))
}

fn elements(xml: &[u8], mut found: impl FnMut(&str, &str)) -> Result<(), quick_xml::Error> {
    let mut reader = Reader::from_reader(xml);
    reader.config_mut().expand_empty_elements = true;
    // Otherwise an answer that is cut short would end like a whole one.
    let missing_end = || quick_xml::errors::IllFormedError::MissingEndTag(String::new());
    let (mut path, mut text, mut encoded) = (String::new(), String::new(), false);
    let mut ended = false;
    loop {
        match reader.read_event()? {
            Event::Start(start) => {
                if !path.is_empty() {
                    path.push('/');
                }
                path.push_str(&String::from_utf8_lossy(start.name().as_ref()));
                encoded = is_encoded(&start)?;
                text.clear();
            }
            Event::Text(part) => text.push_str(&part.xml10_content()?),
            Event::CData(part) => text.push_str(&part.xml10_content()?),
            Event::GeneralRef(reference) => push(&mut text, &reference)?,
            Event::End(_) => {
                if encoded {
                    text = percent_decode_str(&text).decode_utf8_lossy().into_owned();
                    encoded = false;
                }
                found(&path, &text);
                text.clear();
                path.truncate(path.rfind('/').unwrap_or_default());
                ended = path.is_empty();
            }
            Event::Eof if ended => return Ok(()),
            Event::Eof => return Err(missing_end().into()),
            Event::Empty(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_) => {}
        }
    }
}

/// Since version 2021-02-12 a name that XML cannot hold (U+FFFE, U+FFFF) is percent-encoded by RFC 2396, so a `+`
/// is a plus: <https://learn.microsoft.com/rest/api/storageservices/list-blobs#remarks>.
fn is_encoded(start: &BytesStart<'_>) -> Result<bool, quick_xml::Error> {
    let attribute = start.try_get_attribute("Encoded")?;
    Ok(attribute.is_some_and(|attribute| attribute.value.eq_ignore_ascii_case(b"true")))
}

fn push(text: &mut String, reference: &BytesRef<'_>) -> Result<(), quick_xml::Error> {
    if let Some(character) = reference.resolve_char_ref()? {
        text.push(character);
        return Ok(());
    }
    let name = reference.decode()?;
    let unknown = || quick_xml::escape::EscapeError::UnrecognizedEntity(0..0, name.to_string());
    text.push_str(resolve_xml_entity(&name).ok_or_else(unknown)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(xml: &str) -> Result<Vec<(String, String)>, Failure> {
        let mut all = Vec::new();
        read(xml.as_bytes(), |path, text| {
            all.push((path.to_owned(), text.to_owned()));
        })?;
        Ok(all)
    }

    fn text(xml: &str) -> String {
        elements(xml).unwrap().remove(0).1
    }

    #[test]
    fn text_is_as_it_was_before_it_became_xml() {
        for (xml, expected) in [
            ("<N>a b</N>", "a b"),
            ("<N> a  b </N>", " a  b "),
            (
                "<N>&lt;&amp;&gt;&quot;&apos;&#65;&#x1F642;</N>",
                "<&>\"'A🙂",
            ),
            ("<N>&amp;amp;</N>", "&amp;"),
            ("<N>a&#xD;&#10;b</N>", "a\r\nb"),
            ("<N>a\r\nb</N>", "a\nb"),
            ("<N><![CDATA[<a>&amp;]]></N>", "<a>&amp;"),
            ("<N>%20+</N>", "%20+"),
            ("<N Encoded=\"true\">a%EF%BF%BE%2Bb+c</N>", "a\u{fffe}+b+c"),
            ("<N Encoded=\"false\">%20</N>", "%20"),
            ("<N/>", ""),
            ("\u{feff}<?xml version=\"1.0\"?>\n<N>x</N>\n", "x"),
        ] {
            assert_eq!(text(xml), expected, "{xml}");
        }
    }

    #[test]
    fn elements_come_with_their_path_as_they_end() {
        let found = elements("<A><B><C>1</C></B><D/>\n</A>").unwrap();
        let expected = [("A/B/C", "1"), ("A/B", ""), ("A/D", ""), ("A", "\n")];
        assert_eq!(
            found,
            expected.map(|(path, text)| (path.into(), text.into()))
        );
    }

    #[test]
    fn what_is_no_whole_document_is_an_error() {
        for xml in ["", "<A>", "<A><B></B>", "<A></B>", "{}", "<A>&nbsp;</A>"] {
            let error = elements(xml).unwrap_err();
            assert!(matches!(error, Failure::Malformed(_)), "{xml}: {error}");
        }
    }
}
