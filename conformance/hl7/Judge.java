import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.hl7.fhir.r5.elementmodel.Manager.FhirFormat;
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
  public static void main(String[] arguments) throws Exception {
    String core = (arguments[0].startsWith("4") ? "hl7.fhir.r4.core#" : "hl7.fhir.r5.core#") + arguments[0];
    ValidationEngine engine = new ValidationEngine.ValidationEngineBuilder()
        .withCanRunWithoutTerminologyServer(true).withVersion(arguments[0]).fromSource(core);
    if (!arguments[1].equals("-")) {
      engine.loadPackage(arguments[1], null);
    }
    engine.getDefaultInstanceValidatorParameters().setExtensions(List.of("any")).setAllowExampleUrls(true); // as HAPI does
    engine.setPolicyAdvisor(new BasePolicyAdvisorForFullValidation(ReferenceValidationPolicy.CHECK_TYPE_IF_EXISTS, Set.of()));
    engine.setFetcher(Elsewhere.fetcher());
    try (var out = Files.newBufferedWriter(Path.of(arguments[3]))) {
      for (String line : Files.readAllLines(Path.of(arguments[2]))) {
        out.write(judged(engine, line) + "\n");
      }
    }
  }

  private static String judged(ValidationEngine engine, String line) throws Exception {
    return Told.of(line, (text, told) -> {
      List<ValidationMessage> found = new ArrayList<>();
      engine.validate(text.getBytes(StandardCharsets.UTF_8), FhirFormat.JSON, List.of(), found);
      for (ValidationMessage each : found) {
        told.add(each.getLevel().isError(), each.getLevel().toCode(), each.getMessageId(), each.getLocation(), each.getMessage());
      }
    });
  }
}
