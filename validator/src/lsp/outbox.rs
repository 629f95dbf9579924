//! What goes to the client, in its order.

use crossbeam_channel::Sender;
use lsp_server::{ErrorCode, Message, Notification, RequestId, Response, ResponseError};
use lsp_types::notification::{LogMessage, Notification as Told};
use lsp_types::{LogMessageParams, MessageType};
use serde_json::Value;

use super::transport::Outgoing;

/// Why a request is not answered.
pub type Refused = (ErrorCode, String);

/// The way to the client.
#[derive(Debug, Clone)]
pub struct Outbox(pub Sender<Outgoing>);

impl Outbox {
    /// The answer to a request.
    pub fn answer(&self, id: RequestId, result: Result<Value, Refused>) {
        let response_result =
            result.map_err(|(code, message)| ResponseError { code: code as i32, message, data: None });
        self.send(Outgoing::Message(Message::Response(Response { id, response_result })));
    }

    /// A line in the log of the client.
    pub fn log(&self, message: String) {
        self.tell::<LogMessage>(LogMessageParams { typ: MessageType::WARNING, message });
    }

    /// A notification.
    pub fn tell<N: Told>(&self, params: N::Params) {
        let params = serde_json::to_value(params).unwrap_or_default();
        self.send(Outgoing::Message(Message::Notification(Notification { method: N::METHOD.into(), params })));
    }

    pub fn send(&self, message: Outgoing) {
        // A client that does not listen any more will soon end the input.
        let _ = self.0.send(message);
    }
}
