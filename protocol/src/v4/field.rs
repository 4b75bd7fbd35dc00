//! Fields of messages that have bounds: each decoder checks its field before it keeps a copy, and names it.

use minicbor::decode::{Decoder, Error};
use minicbor::encode::{self, Encoder, Write};

use super::invitation::{SECRET, Secret};
use super::message::{ERROR_TEXT_MAX, HOST_MAX, SOFTWARE_MAX};
use crate::name::check_client_name;

pub(super) fn software<Ctx>(decoder: &mut Decoder<'_>, _: &mut Ctx) -> Result<String, Error> {
    text("software", SOFTWARE_MAX, decoder)
}

pub(super) fn host<Ctx>(decoder: &mut Decoder<'_>, _: &mut Ctx) -> Result<String, Error> {
    text("host", HOST_MAX, decoder)
}

pub(super) fn error_text<Ctx>(decoder: &mut Decoder<'_>, _: &mut Ctx) -> Result<String, Error> {
    text("text", ERROR_TEXT_MAX, decoder)
}

pub(super) fn client_name<Ctx>(decoder: &mut Decoder<'_>, _: &mut Ctx) -> Result<String, Error> {
    let at = decoder.position();
    let name = decoder.str().map_err(|error| error.with_message("name"))?;
    match check_client_name(name.as_bytes()) {
        Ok(name) => Ok(name.to_owned()),
        Err(problem) => Err(Error::message(problem).at(at)),
    }
}

pub(super) fn secret<Ctx>(decoder: &mut Decoder<'_>, _: &mut Ctx) -> Result<Secret, Error> {
    let at = decoder.position();
    let bytes = decoder.bytes().map_err(|error| error.with_message("secret"))?;
    let wrong = |_| {
        let length = bytes.len();
        Error::message(format_args!("secret has {length} bytes and must have {SECRET}")).at(at)
    };
    <[u8; SECRET]>::try_from(bytes).map(Secret::new).map_err(wrong)
}

pub(super) fn push_secret<Ctx, W: Write>(
    secret: &Secret,
    encoder: &mut Encoder<W>,
    _: &mut Ctx,
) -> Result<(), encode::Error<W::Error>> {
    encoder.bytes(secret.expose())?.ok()
}

/// Text of at most `max` bytes that cannot steer a terminal.
fn text(field: &str, max: usize, decoder: &mut Decoder<'_>) -> Result<String, Error> {
    let at = decoder.position();
    let text = decoder.str().map_err(|error| error.with_message(field))?;
    if text.len() > max {
        let length = text.len();
        let problem = format_args!("{field} has {length} bytes, of at most {max}");
        return Err(Error::message(problem).at(at));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::message(format_args!("{field} holds a control character")).at(at));
    }
    Ok(text.to_owned())
}

/// `text` as a field takes it: cut off at `max` bytes, and with a space for each control character.
pub(super) fn fitting(text: &str, max: usize) -> String {
    let end = text.floor_char_boundary(max);
    text[..end].replace(char::is_control, " ")
}
