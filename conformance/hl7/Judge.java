import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.hl7.fhir.r5.context.IWorkerContext;
import org.hl7.fhir.r5.elementmodel.Manager;
import org.hl7.fhir.r5.elementmodel.Manager.FhirFormat;
import org.hl7.fhir.r5.model.StructureDefinition;
import org.hl7.fhir.r5.utils.validation.IResourceValidator;
import org.hl7.fhir.r5.utils.validation.IValidatorResourceFetcher;
import org.hl7.fhir.r5.utils.validation.constants.ReferenceValidationPolicy;
import org.hl7.fhir.utilities.validation.ValidationMessage;
import org.hl7.fhir.validation.ValidationEngine;
import org.hl7.fhir.validation.instance.advisor.BasePolicyAdvisorForFullValidation;

/**
 * What HL7's own engine says of each resource of a file: Judge VERSION PACKAGE|- IN OUT THREADS (one is used).
 *
 * One JSON object per line. In: id, text (the resource in JSON). Out, in the same order: id, rejects, messages.
 */
public class Judge {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final Pattern LITERAL = Pattern.compile("(?:\\S+/)?([A-Z][A-Za-z]+)/[A-Za-z0-9.-]{1,64}(?:/_history/\\S+)?");

  public static void main(String[] arguments) throws Exception {
    String core = (arguments[0].startsWith("4") ? "hl7.fhir.r4.core#" : "hl7.fhir.r5.core#") + arguments[0];
    ValidationEngine engine = new ValidationEngine.ValidationEngineBuilder()
        .withCanRunWithoutTerminologyServer(true).withVersion(arguments[0]).fromSource(core);
    if (!arguments[1].equals("-")) {
      engine.loadPackage(arguments[1], null);
    }
    engine.getDefaultInstanceValidatorParameters().setExtensions(List.of("any")).setAllowExampleUrls(true); // as HAPI does
    engine.setPolicyAdvisor(new BasePolicyAdvisorForFullValidation(ReferenceValidationPolicy.CHECK_TYPE_IF_EXISTS, Set.of()));
    engine.setFetcher((IValidatorResourceFetcher) Proxy.newProxyInstance(
        Judge.class.getClassLoader(), new Class<?>[] {IValidatorResourceFetcher.class}, Judge::elsewhere));
    try (var out = Files.newBufferedWriter(Path.of(arguments[3]))) {
      for (String line : Files.readAllLines(Path.of(arguments[2]))) {
        out.write(judged(engine, line) + "\n");
      }
    }
  }

  /** What lies outside a resource is as it is called: {@code Patient/1} is a Patient, of which no more is known. */
  private static Object elsewhere(Object self, Method asked, Object[] given) {
    if (asked.getName().equals("fetch")) {
      Matcher literal = LITERAL.matcher((String) given[2]);
      IWorkerContext known = ((IResourceValidator) given[0]).getContext();
      StructureDefinition type = literal.matches() ? known.fetchTypeDefinition(literal.group(1)) : null;
      return type == null ? null : Manager.build(known, type);
    }
    return asked.getReturnType() == boolean.class ? (Object) asked.getName().equals("resolveURL") : null;
  }

  private static String judged(ValidationEngine engine, String line) throws Exception {
    var given = JSON.readTree(line);
    ObjectNode told = JSON.createObjectNode();
    told.put("id", given.get("id").asText());
    boolean rejects = false;
    ArrayNode messages = JSON.createArrayNode();
    List<ValidationMessage> found = new ArrayList<>();
    try {
      engine.validate(given.get("text").asText().getBytes(StandardCharsets.UTF_8), FhirFormat.JSON, List.of(), found);
      for (ValidationMessage each : found) {
        rejects |= each.getLevel().isError();
        messages.addObject()
            .put("severity", each.getLevel().toCode())
            .put("messageId", each.getMessageId())
            .put("where", each.getLocation())
            .put("text", each.getMessage());
      }
    } catch (RuntimeException refused) { // what it cannot even parse
      rejects = true;
      messages.addObject().put("severity", "fatal").put("messageId", "exception").put("text", String.valueOf(refused.getMessage()));
    }
    told.put("rejects", rejects);
    told.set("messages", messages);
    return JSON.writeValueAsString(told);
  }
}
