import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

/** What a validator tells of one resource. A line with id and text becomes a line with id, rejects and messages. */
final class Told {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final ArrayNode messages = JSON.createArrayNode();
  private boolean rejects;

  interface Validator {
    void validate(String text, Told told) throws Exception;
  }

  static String of(String line, Validator validator) throws Exception {
    var given = JSON.readTree(line);
    Told told = new Told();
    try {
      validator.validate(given.get("text").asText(), told);
    } catch (RuntimeException refused) { // what it cannot even parse
      told.add(true, "fatal", "exception", null, String.valueOf(refused.getMessage()));
    }
    ObjectNode answer = JSON.createObjectNode();
    answer.put("id", given.get("id").asText()).put("rejects", told.rejects).set("messages", told.messages);
    return JSON.writeValueAsString(answer);
  }

  void add(boolean isError, String severity, String messageId, String where, String text) {
    rejects |= isError;
    ObjectNode message = messages.addObject().put("severity", severity).put("messageId", messageId);
    message.put("where", where).put("text", text);
  }
}
